/**
 * One request's generation: its model leased, its first event already there, ended exactly once.
 *
 * Several prompts of one request run beside each other and come back as one stream, their choices
 * numbered through.
 */
import type { Delta, EngineDoor, Generated } from "../../bridge/doors.ts";
import { BullionError } from "../../contract/errors.ts";
import type { GenerateSpec, Usage } from "../../contract/worker.ts";
import type { GenerationMeter } from "../metrics/metrics.ts";

const NO_USAGE: Usage = { prompt_tokens: 0, completion_tokens: 0, cached_tokens: 0 };

/** Prompts of one request that the engine works on at the same time. */
const BESIDE = 16;

/** Choices that the engine computes at the same time, and those that may wait behind them. */
export interface Places {
  max_running: number;
  max_waiting: number;
}

/** What a generation works with; it ends the lease and the meter. */
export interface GenerationParts {
  engine: EngineDoor;
  places: Places;
  lease: Disposable;
  meter: GenerationMeter;
}

/** Deltas of all choices in the order they come; `usage` is whole once they have ended. */
export class Generation implements AsyncIterable<Delta>, Disposable {
  readonly #events: AsyncGenerator<Delta, void>;
  readonly #stop = new AbortController();
  readonly #parts: GenerationParts;
  #first: IteratorResult<Delta, void> | null = null;
  #usage: Usage = NO_USAGE;

  private constructor(parts: GenerationParts, specs: GenerateSpec[], signal: AbortSignal) {
    this.#parts = parts;
    const either = AbortSignal.any([signal, this.#stop.signal]);
    either.addEventListener("abort", () => parts.lease[Symbol.dispose](), { once: true });
    const events = specs.length === 1
      ? parts.engine.generate(specs[0]!, either)
      : beside(parts, specs, either);
    this.#events = this.#deltas(events, either);
  }

  /** Resolves with the first event: what is wrong with the request is thrown here. Ends `lease`. */
  static async begin(
    parts: GenerationParts,
    specs: GenerateSpec[],
    signal: AbortSignal,
  ): Promise<Generation> {
    const generation = new Generation(parts, specs, signal);
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
    this.#parts.meter.end();
    this.#parts.lease[Symbol.dispose]();
  }

  async *#deltas(
    events: AsyncIterable<Generated>,
    signal: AbortSignal,
  ): AsyncGenerator<Delta, void> {
    const { meter } = this.#parts;
    try {
      for await (const event of events) {
        if (signal.aborted) return;
        if (event.type === "delta") {
          meter.generated(event.count);
          yield event;
        } else {
          meter.prompt(event.usage.prompt_tokens, event.usage.cached_tokens);
          this.#usage = sum(this.#usage, event.usage);
        }
      }
    } catch (error) {
      if (signal.aborted && !(error instanceof BullionError)) return;
      throw error;
    } finally {
      this.#stop.abort();
    }
  }
}

/**
 * All prompts' events, choices numbered through; the first failure ends the others. A prompt comes when
 * its choices can be computed beside those of the ones before, so that a request never fills the queue
 * against itself.
 */
async function* beside(
  { engine, places }: GenerationParts,
  specs: GenerateSpec[],
  signal: AbortSignal,
): AsyncGenerator<Generated, void> {
  const waiting = specs.map((spec, number) => ({ spec, first: number * spec.n }));
  const running = new Map<number, Promise<[number, IteratorResult<Generated>]>>();
  const streams = new Map<number, AsyncIterator<Generated>>();
  const left = new Map<number, number>(); // choices of each running prompt that have not ended
  const fits = ({ n }: GenerateSpec) => {
    const choices = left.values().reduce((sum, one) => sum + one, n);
    return running.size === 0 || running.size < BESIDE && choices <= places.max_running;
  };
  const pull = (first: number) =>
    running.set(first, streams.get(first)!.next().then((result) => [first, result]));
  try {
    for (;;) {
      while (waiting.length > 0 && fits(waiting[0]!.spec)) {
        const { spec, first } = waiting.shift()!;
        streams.set(first, engine.generate(spec, signal)[Symbol.asyncIterator]());
        left.set(first, spec.n);
        pull(first);
      }
      if (running.size === 0) return;
      const [first, result] = await Promise.race(running.values());
      if (result.done) {
        running.delete(first);
        left.delete(first);
        continue;
      }
      const event = result.value;
      const isEnd = event.type === "delta" && event.finish_reason !== null;
      if (isEnd) left.set(first, left.get(first)! - 1);
      yield event.type === "delta" ? { ...event, index: first + event.index } : event;
      pull(first);
    }
  } finally {
    for (const promise of running.values()) promise.catch(() => {});
    for (const first of running.keys()) streams.get(first)!.return?.().catch(() => {});
  }
}

function sum(a: Usage, b: Usage): Usage {
  return {
    prompt_tokens: a.prompt_tokens + b.prompt_tokens,
    completion_tokens: a.completion_tokens + b.completion_tokens,
    cached_tokens: a.cached_tokens + b.cached_tokens,
  };
}
