/**
 * When what failed is tried again by itself: after a pause that doubles with each failure in a row.
 *
 * Owns the count and the timer, and tells of both in the log; not what is tried, nor whether it failed.
 */
import type { LogLevel } from "./process.ts";

/** Milliseconds. */
export interface Pauses {
  /** After the first failure in a row. */
  firstMs: number;
  longestMs: number;
}

export class Retries {
  readonly #pauses: Pauses;
  readonly #log: (line: string, level: LogLevel) => void;
  readonly #again: () => void;
  #failures = 0;
  #pause: ReturnType<typeof setTimeout> | null = null;

  constructor(
    pauses: Pauses,
    log: (line: string, level: LogLevel) => void,
    again: () => void,
  ) {
    this.#pauses = pauses;
    this.#log = log;
    this.#again = again;
  }

  /** Failures in a row. */
  get failures(): number {
    return this.#failures;
  }

  /** It failed, as `why` tells. In a pause nothing changes: the next try has been told already. */
  later(why: string): void {
    if (this.#pause !== null) return;
    const pauseMs = Math.min(this.#pauses.firstMs * 2 ** this.#failures, this.#pauses.longestMs);
    this.#failures += 1;
    this.#log(`${why}; trying again in ${pauseMs / 1000} s`, "warn");
    this.#pause = setTimeout(() => {
      this.#pause = null;
      this.#log(`trying again (${this.#failures})`, "info");
      this.#again();
    }, pauseMs);
  }

  /** No try by itself now. The count stays: what is up may fail again soon. */
  endPause(): void {
    if (this.#pause !== null) clearTimeout(this.#pause);
    this.#pause = null;
  }

  /** As if nothing had failed yet. */
  reset(): void {
    this.endPause();
    this.#failures = 0;
  }
}
