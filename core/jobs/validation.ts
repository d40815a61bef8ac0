/**
 * Reading the data of new jobs: one job after the other, in the order they came.
 *
 * A job whose data is good is queued, or paused if that was asked for meanwhile; one whose data is not
 * has failed with what is wrong. Owns nothing that outlives the process: after a restart the job is read
 * again.
 */
import { asBullionError } from "../../contract/errors.ts";
import type { Store } from "../store/store.ts";
import { announceReport } from "./announce.ts";
import { convert } from "./data.ts";
import type { Ledger } from "./ledger.ts";
import { hasEnded } from "./lifecycle.ts";
import type { Plan } from "./plan.ts";

export interface ValidationParts {
  store: Store<Plan>;
  ledger: Ledger;
  maxRecords: number;
  /** Called when a job was queued. */
  onQueued(): void;
}

export class Validation {
  readonly #parts: ValidationParts;
  readonly #closing = new AbortController();
  #reading: { id: string; stop: AbortController } | null = null;
  #chain: Promise<void> = Promise.resolve();

  constructor(parts: ValidationParts) {
    this.#parts = parts;
  }

  add(plan: Plan): void {
    const isOff = () => this.#closing.signal.aborted || this.#hasEnded(plan);
    this.#chain = this.#chain
      .then(() => isOff() ? undefined : this.#read(plan))
      .catch((thrown) => this.#parts.ledger.fail(plan.id, asBullionError(thrown), isOff));
  }

  /** Stops reading a job that was cancelled, so that it holds up no other. */
  leave(jobId: string): void {
    if (this.#reading?.id === jobId) this.#reading.stop.abort();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#chain;
  }

  async #read(plan: Plan): Promise<void> {
    const { store, ledger, maxRecords, onQueued } = this.#parts;
    if (plan.kind === "train") {
      const stop = new AbortController();
      const signal = AbortSignal.any([stop.signal, this.#closing.signal]);
      this.#reading = { id: plan.id, stop };
      const folder = store.jobFolder(plan.id);
      const reports = await convert(plan.sources, folder, maxRecords, signal);
      if (signal.aborted || this.#hasEnded(plan)) return;
      for (const { name, report } of reports) announceReport(plan.id, name, report, ledger);
    }
    const { stopping } = ledger.state(plan.id);
    ledger.atomically(plan.id, () =>
      store.transaction(() => {
        ledger.append(plan.id, { type: "queued", why: "its request and data are valid" });
        if (stopping === "pause") ledger.append(plan.id, { type: "paused" });
      }));
    onQueued();
  }

  #hasEnded({ id }: Plan): boolean {
    return hasEnded(this.#parts.ledger.state(id).status);
  }
}
