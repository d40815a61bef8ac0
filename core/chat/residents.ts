/**
 * Which models the engine holds: loaded once, kept while used, the longest unused one gives way.
 *
 * Counts bases, as their weights are what fills a device; adapters lie over a base that is there. Owns
 * the rule, not the engine, which may drop an idle model itself when memory runs out. While a job has the device to itself nothing is loaded and every
 * request is refused with `engine_unavailable`.
 */
import type { EngineDoor } from "../../bridge/doors.ts";
import { BullionError } from "../../contract/errors.ts";
import type { ResolvedModel } from "../../contract/model.ts";

interface Resident {
  name: string;
  base: string;
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

/** Adapters over all bases; one of rank 8 over an 8B model has 84 MB. */
const MOST_ADAPTERS = 64;

export class Residents {
  readonly #engine: EngineDoor;
  readonly #mostBases: number;
  readonly #idleMs: number | null;
  readonly #residents = new Map<string, Resident>();
  /** Folders that go or have gone: nothing of theirs is served again. */
  readonly #released = new Set<string>();
  readonly #freed = new Set<() => void>();
  #clock = 0;
  #suspended: string | null = null;
  #closed = false;

  /** `idleSeconds`: a model that nobody used for so long is unloaded; null: never. */
  constructor(engine: EngineDoor, mostBases: number, idleSeconds: number | null = null) {
    this.#engine = engine;
    this.#mostBases = mostBases;
    this.#idleMs = idleSeconds === null ? null : idleSeconds * 1000;
  }

  get suspended(): string | null {
    return this.#suspended;
  }

  /**
   * Loads the model if need be. Throws what loading throws, `model_not_found` once its folder is
   * released, and `engine_unavailable`.
   */
  async acquire(model: ResolvedModel, signal: AbortSignal): Promise<Lease> {
    const name = nameOf(model);
    const base = baseOf(model);
    for (;;) {
      this.#assertServing();
      this.#assertKept(model);
      signal.throwIfAborted();
      const known = this.#residents.get(name);
      if (known) return await this.#lease(known, signal);
      const groups = this.#inTheWay(base);
      if (groups === null) break;
      const oldest = oldestFree(groups);
      await (oldest ? this.#unload(oldest) : this.#someoneFree(signal));
    }
    const loading = this.#engine.load({ name, base: model.base, adapter: model.adapter });
    const resident: Resident = { name, base, loading, users: 0, lastUse: 0 };
    this.#residents.set(name, resident);
    loading.catch(() => this.#drop(resident));
    return await this.#lease(resident, signal);
  }

  /** The engine says that it does not have the model any more: the next request loads it again. */
  forget(name: string): void {
    const resident = this.#residents.get(name);
    if (resident) this.#drop(resident);
  }

  /**
   * Unloads every model whose files lie in `folder`, waiting for those who use it, then forgets it by
   * `forget`, whose result it gives. Who comes from now on is refused, unless it fails.
   */
  async release<T>(folder: string, forget: () => T): Promise<T> {
    this.#released.add(folder);
    try {
      for (const resident of [...this.#residents.values()]) {
        if (!isIn(folder, resident.name)) continue;
        while (resident.users > 0) await this.#someoneFree(new AbortController().signal);
        await this.#unload([resident]);
      }
      return forget();
    } catch (error) {
      this.#released.delete(folder);
      throw error;
    }
  }

  /** Refuses requests from now on, lets the running ones end (at most `drainMs`), stops the engine. */
  async suspend(reason: string, drainMs: number): Promise<void> {
    this.#suspended = reason;
    await this.#empty(unavailable(reason), drainMs);
  }

  /** As `suspend`, and for good. */
  async close(drainMs: number): Promise<void> {
    this.#closed = true;
    await this.#empty(stopping(), drainMs);
  }

  async #empty(reason: BullionError, drainMs: number): Promise<void> {
    this.#wakeAll(); // who waits for a place is refused
    const patience = AbortSignal.timeout(drainMs);
    while (this.#inUse() && !patience.aborted) {
      await this.#someoneFree(patience).catch(() => {});
    }
    this.#residents.clear();
    await this.#engine.stop(reason);
  }

  resume(): void {
    this.#suspended = null;
  }

  #assertServing(): void {
    if (this.#closed) throw stopping();
    if (this.#suspended !== null) throw unavailable(this.#suspended);
  }

  #assertKept(model: ResolvedModel): void {
    const isReleased = (path: string) => this.#released.values().some((gone) => isIn(gone, path));
    const what = isReleased(nameOf(model))
      ? "it is being deleted"
      : isReleased(baseOf(model))
      ? "the base that it lies over is being deleted"
      : null;
    if (what === null) return;
    throw new BullionError(
      "model_not_found",
      `Cannot use "${model.name}" as ${what}: GET /v1/models lists those that stay`,
      { param: "model" },
    );
  }

  async #lease(resident: Resident, signal: AbortSignal): Promise<Lease> {
    resident.users += 1;
    let over = false;
    const end = () => {
      if (over) return;
      over = true;
      resident.users -= 1;
      resident.lastUse = ++this.#clock;
      this.#unloadWhenIdle(resident);
      this.#wakeAll();
    };
    try {
      const facts = await unlessAborted(resident.loading, signal);
      return { name: resident.name, facts, [Symbol.dispose]: end };
    } catch (error) {
      end();
      throw error;
    }
  }

  /** Groups of which one must go before a model over `base` can come; null: there is room. */
  #inTheWay(base: string): Resident[][] | null {
    const bases = Map.groupBy(this.#residents.values(), (resident) => resident.base);
    if (!bases.has(base) && bases.size >= this.#mostBases) return [...bases.values()];
    const all = [...this.#residents.values()];
    return all.length < this.#mostBases + MOST_ADAPTERS ? null : all.map((resident) => [resident]);
  }

  #unloadWhenIdle(resident: Resident): void {
    if (this.#idleMs === null) return;
    const { lastUse } = resident;
    const timer = setTimeout(() => {
      const isIdle = resident.users === 0 && resident.lastUse === lastUse;
      if (isIdle && this.#residents.get(resident.name) === resident) {
        this.#unload([resident]).catch(() => {});
      }
    }, this.#idleMs);
    Deno.unrefTimer(timer);
  }

  async #unload(residents: Resident[]): Promise<void> {
    for (const { name } of residents) this.#residents.delete(name);
    for (const { name } of residents) {
      try {
        await this.#engine.unload(name);
      } catch (error) {
        // It has made room by itself: the model is gone as it should be.
        if (!(error instanceof BullionError && error.code === "model_not_loaded")) throw error;
      }
    }
  }

  #drop(resident: Resident): void {
    if (this.#residents.get(resident.name) === resident) this.#residents.delete(resident.name);
    this.#wakeAll();
  }

  #inUse(): boolean {
    return [...this.#residents.values()].some(({ users }) => users > 0);
  }

  #wakeAll(): void {
    for (const wake of [...this.#freed]) wake();
  }

  /** Resolves when there is reason to look again, as a lease ended; rejects when the signal aborts. */
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

/** The group that nobody uses and that was used longest ago; undefined: all are in use. */
function oldestFree(groups: Resident[][]): Resident[] | undefined {
  const lastUse = (group: Resident[]) => Math.max(...group.map((resident) => resident.lastUse));
  return groups
    .filter((group) => group.every(({ users }) => users === 0))
    .sort((a, b) => lastUse(a) - lastUse(b))[0];
}

function unavailable(reason: string): BullionError {
  const message = `Cannot answer now as ${reason}: try again later`;
  return new BullionError("engine_unavailable", message);
}

function stopping(): BullionError {
  const message = "Cannot answer as the service is stopping: ask again when it has started anew";
  return new BullionError("service_stopping", message);
}

/** The promise's value; rejects as soon as the signal aborts, whatever becomes of the promise. */
async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const abort = () => aborted.reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

function isIn(folder: string, path: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}

/** One name for one set of weights, whatever names users call it by. */
function nameOf(model: ResolvedModel): string {
  return model.adapter ?? baseOf(model);
}

function baseOf({ base }: ResolvedModel): string {
  return base.hub === null ? base.path : `${base.hub}:${base.path}`;
}
