/**
 * The one way by which a job changes: appending events, and hearing of them.
 *
 * Keeps the folded state of each job it was asked about (it is the only writer, so the fold stays
 * true) and wakes those who follow a job. Knows no trainer and no queue.
 */
import type { ErrorDetail } from "../../contract/errors.ts";
import type { JobEvent, JobEventBody } from "../../contract/job.ts";
import type { EventRows } from "../store/events.ts";
import { fold, hasEnded, type JobState, mayFollow, next } from "./lifecycle.ts";

const BATCH = 500;
const RETRY_MS = 1_000;

export class Ledger {
  readonly #rows: EventRows;
  readonly #states = new Map<string, JobState>();
  readonly #waiting = new Map<string, Set<() => void>>();

  constructor(rows: EventRows) {
    this.#rows = rows;
  }

  state(jobId: string): JobState {
    let state = this.#states.get(jobId);
    if (!state) this.#states.set(jobId, state = fold(this.#rows.lifecycle(jobId)));
    return state;
  }

  /** Appends an event. Throws a plain Error for one that may not follow: a fault of this program. */
  append(jobId: string, body: JobEventBody): JobEvent {
    const state = this.state(jobId);
    const isFirst = body.type === "created";
    if (!isFirst && !mayFollow(state, body.type)) {
      throw new Error(`Cannot append "${body.type}" to job ${jobId}, which is ${state.status}`);
    }
    const event = this.#rows.append(jobId, body);
    this.#states.set(jobId, next(state, event));
    for (const wake of this.#waiting.get(jobId) ?? []) wake();
    return event;
  }

  /**
   * Appends how a job failed. A full disk may refuse the very event that says so: then it is written
   * as soon as there is room. Does nothing for a job that has ended; gives up when `isOff`.
   */
  async fail(jobId: string, { code, message, param }: ErrorDetail, isOff: () => boolean) {
    while (!isOff() && !hasEnded(this.state(jobId).status)) {
      try {
        this.append(jobId, { type: "failed", error: { code, message, param } });
      } catch {
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }

  /** Runs `work`, which appends within a transaction; if that is undone, so is what it appended. */
  atomically<T>(jobId: string, work: () => T): T {
    try {
      return work();
    } catch (error) {
      this.#states.delete(jobId);
      throw error;
    }
  }

  note(
    jobId: string,
    level: "info" | "warn" | "error",
    code: string,
    text: string,
    data: Record<string, unknown> = {},
  ): void {
    this.append(jobId, { type: "message", level, code, text, data });
  }

  /**
   * Every event after `afterSequence`, each once and in order: what is stored, then what comes.
   * Ends after the last event of a job that has ended, or when the signal aborts.
   */
  async *tail(
    jobId: string,
    afterSequence: number,
    signal: AbortSignal,
  ): AsyncGenerator<JobEvent, void> {
    let last = afterSequence;
    while (!signal.aborted) {
      // Asked for before reading: an event that arrives in between wakes us at once.
      const news = this.#news(jobId, signal);
      try {
        const events = this.#rows.events(jobId, last, BATCH);
        for (const event of events) {
          if (signal.aborted) return;
          last = event.sequence;
          yield event;
        }
        if (events.length > 0) continue;
        if (hasEnded(this.state(jobId).status)) return;
        await news.promise;
      } finally {
        news.forget();
      }
    }
  }

  /** Resolves with the state once `isSo` holds of it. */
  async until(jobId: string, isSo: (state: JobState) => boolean): Promise<JobState> {
    const never = new AbortController().signal;
    while (!isSo(this.state(jobId))) {
      const news = this.#news(jobId, never);
      await news.promise;
      news.forget();
    }
    return this.state(jobId);
  }

  #news(jobId: string, signal: AbortSignal): { promise: Promise<void>; forget(): void } {
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiting = this.#waiting.get(jobId) ?? new Set();
    this.#waiting.set(jobId, waiting.add(resolve));
    const onAbort = () => resolve();
    signal.addEventListener("abort", onAbort, { once: true });
    const forget = () => {
      signal.removeEventListener("abort", onAbort);
      waiting.delete(resolve);
      if (waiting.size === 0 && this.#waiting.get(jobId) === waiting) this.#waiting.delete(jobId);
    };
    return { promise, forget };
  }
}
