/**
 * One request's generation: its model leased, its first event already there, ended exactly once.
 *
 * Several prompts of one request run beside each other and come back as one stream, their choices
 * numbered through.
 */
import type { Delta, EngineDoor, Generated } from "../../bridge/doors.ts";
import { BullionError } from "../../contract/errors.ts";
import type { GenerateSpec, Usage } from "../../contract/worker.ts";

const NO_USAGE: Usage = { prompt_tokens: 0, completion_tokens: 0, cached_tokens: 0 };

/** Prompts of one request that the engine works on at the same time. */
const BESIDE = 16;

/** Deltas of all choices in the order they come; `usage` is whole once they have ended. */
export class Generation implements AsyncIterable<Delta>, Disposable {
  readonly #events: AsyncGenerator<Delta, void>;
  readonly #stop = new AbortController();
  readonly #lease: Disposable;
  #first: IteratorResult<Delta, void> | null = null;
  #usage: Usage = NO_USAGE;

  private constructor(
    engine: EngineDoor,
    specs: GenerateSpec[],
    lease: Disposable,
    signal: AbortSignal,
  ) {
    this.#lease = lease;
    const either = AbortSignal.any([signal, this.#stop.signal]);
    either.addEventListener("abort", () => lease[Symbol.dispose](), { once: true });
    this.#events = this.#all(engine, specs, either);
  }

  /** Resolves with the first event: what is wrong with the request is thrown here. Ends `lease`. */
  static async begin(
    engine: EngineDoor,
    specs: GenerateSpec[],
    lease: Disposable,
    signal: AbortSignal,
  ): Promise<Generation> {
    const generation = new Generation(engine, specs, lease, signal);
    try {
      generation.#first = await generation.#events.next();
      return generation;
    } catch (error) {
      generation[Symbol.dispose]();
      throw error;
    }
  }

  get usage(): Usage {
    return this.#usage;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Delta, void> {
    try {
      let result = this.#first ?? await this.#events.next();
      this.#first = null;
      while (!result.done) {
        yield result.value;
        result = await this.#events.next();
      }
    } finally {
      this[Symbol.dispose]();
    }
  }

  /** Cancels what still runs and gives the model back. Idempotent. */
  [Symbol.dispose](): void {
    this.#stop.abort();
    this.#events.return().catch(() => {});
    this.#lease[Symbol.dispose]();
  }

  async *#all(
    engine: EngineDoor,
    specs: GenerateSpec[],
    signal: AbortSignal,
  ): AsyncGenerator<Delta, void> {
    const waiting = specs.map((spec, number) => ({ spec, first: number * spec.n }));
    const running = new Map<number, Promise<[number, IteratorResult<Generated>]>>();
    const streams = new Map<number, AsyncIterator<Generated>>();
    const pull = (first: number) =>
      running.set(first, streams.get(first)!.next().then((result) => [first, result]));
    try {
      for (;;) {
        while (waiting.length > 0 && running.size < BESIDE) {
          const { spec, first } = waiting.shift()!;
          streams.set(first, engine.generate(spec, signal)[Symbol.asyncIterator]());
          pull(first);
        }
        if (running.size === 0) return;
        const [first, result] = await Promise.race(running.values());
        if (signal.aborted) return;
        if (result.done) {
          running.delete(first);
          continue;
        }
        const event = result.value;
        if (event.type === "done") this.#count(event.usage);
        else yield { ...event, index: first + event.index };
        pull(first);
      }
    } catch (error) {
      if (signal.aborted && !(error instanceof BullionError)) return;
      throw error;
    } finally {
      this.#stop.abort();
      for (const promise of running.values()) promise.catch(() => {});
      for (const first of running.keys()) streams.get(first)!.return?.().catch(() => {});
    }
  }

  #count(usage: Usage): void {
    const { prompt_tokens, completion_tokens, cached_tokens } = this.#usage;
    this.#usage = {
      prompt_tokens: prompt_tokens + usage.prompt_tokens,
      completion_tokens: completion_tokens + usage.completion_tokens,
      cached_tokens: cached_tokens + usage.cached_tokens,
    };
  }
}
