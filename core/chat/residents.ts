/**
 * Which models the engine holds: loaded once, kept while used, the longest unused one gives way.
 *
 * Owns the rule, not the engine. While a job has the device to itself nothing is loaded and every
 * request is refused with `engine_unavailable`.
 */
import type { EngineDoor } from "../../bridge/doors.ts";
import { BullionError } from "../../contract/errors.ts";
import type { ResolvedModel } from "../../contract/model.ts";

interface Resident {
  name: string;
  loading: Promise<Record<string, unknown>>;
  users: number;
  lastUse: number;
}

/** A loaded model that stays loaded until this is disposed of. */
export interface Lease extends Disposable {
  /** The name by which the engine knows it. */
  readonly name: string;
  /** What the engine said of the model when it was loaded. */
  readonly facts: Record<string, unknown>;
}

export class Residents {
  readonly #engine: EngineDoor;
  readonly #most: number;
  readonly #residents = new Map<string, Resident>();
  readonly #freed = new Set<() => void>();
  #clock = 0;
  #suspended: string | null = null;

  constructor(engine: EngineDoor, most: number) {
    this.#engine = engine;
    this.#most = most;
  }

  get suspended(): string | null {
    return this.#suspended;
  }

  /** Names of the loaded models by which a request may leave `model` out. */
  get names(): string[] {
    return [...this.#residents.keys()];
  }

  /** Loads the model if need be. Throws what loading throws, and `engine_unavailable`. */
  async acquire(model: ResolvedModel, signal: AbortSignal): Promise<Lease> {
    const name = nameOf(model);
    for (;;) {
      this.#assertServing();
      signal.throwIfAborted();
      const known = this.#residents.get(name);
      if (known) return await this.#lease(known);
      if (this.#residents.size < this.#most) break;
      if (!await this.#unloadIdle()) await this.#someoneFree(signal);
    }
    const served = { name, base: model.base, adapter: model.adapter };
    const loading = this.#engine.load(served);
    const resident: Resident = { name, loading, users: 0, lastUse: 0 };
    this.#residents.set(name, resident);
    loading.catch(() => this.#forget(resident));
    return await this.#lease(resident);
  }

  /** Unloads every model whose files lie in `folder`, waiting for those who use it. */
  async release(folder: string): Promise<void> {
    for (const resident of [...this.#residents.values()]) {
      if (!resident.name.startsWith(folder)) continue;
      while (resident.users > 0) await this.#someoneFree(new AbortController().signal);
      if (!this.#residents.delete(resident.name)) continue;
      await this.#engine.unload(resident.name);
    }
  }

  /** Refuses requests from now on, lets the running ones end (at most `drainMs`), stops the engine. */
  async suspend(reason: string, drainMs: number): Promise<void> {
    this.#suspended = reason;
    const patience = AbortSignal.timeout(drainMs);
    while (this.#inUse() && !patience.aborted) {
      await this.#someoneFree(patience).catch(() => {});
    }
    this.#residents.clear();
    await this.#engine.stop();
  }

  resume(): void {
    this.#suspended = null;
  }

  #assertServing(): void {
    if (this.#suspended === null) return;
    throw new BullionError(
      "engine_unavailable",
      `Cannot answer now as ${this.#suspended}: try again later`,
    );
  }

  async #lease(resident: Resident): Promise<Lease> {
    resident.users += 1;
    let over = false;
    const end = () => {
      if (over) return;
      over = true;
      resident.users -= 1;
      resident.lastUse = ++this.#clock;
      for (const wake of [...this.#freed]) wake();
    };
    try {
      const facts = await resident.loading;
      return { name: resident.name, facts, [Symbol.dispose]: end };
    } catch (error) {
      end();
      throw error;
    }
  }

  async #unloadIdle(): Promise<boolean> {
    const idle = [...this.#residents.values()].filter(({ users }) => users === 0);
    const [oldest] = idle.sort((a, b) => a.lastUse - b.lastUse);
    if (!oldest) return false;
    this.#residents.delete(oldest.name);
    await this.#engine.unload(oldest.name);
    return true;
  }

  #forget(resident: Resident): void {
    if (this.#residents.get(resident.name) === resident) this.#residents.delete(resident.name);
    for (const wake of [...this.#freed]) wake();
  }

  #inUse(): boolean {
    return [...this.#residents.values()].some(({ users }) => users > 0);
  }

  /** Resolves when a lease ends; rejects when the signal aborts. */
  #someoneFree(signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const leave = () => {
      this.#freed.delete(wake);
      signal.removeEventListener("abort", abort);
    };
    const wake = () => (leave(), resolve());
    const abort = () => (leave(), reject(signal.reason));
    this.#freed.add(wake);
    signal.addEventListener("abort", abort, { once: true });
    if (signal.aborted) abort();
    return promise;
  }
}

/** One name for one set of weights, whatever names users call it by. */
function nameOf({ base, adapter }: ResolvedModel): string {
  return adapter ?? (base.hub === null ? base.path : `${base.hub}:${base.path}`);
}
