/**
 * A Python process with a role: opened, submitted to, and drained by one pump.
 *
 * The pump asks for events as long as somebody listens and gives each event to the listener of its id.
 * An empty hand costs the engine's thread a turn, so the pump learns how long a step takes and asks when
 * the next one should be over; after empty hands it asks less often. When the process dies or
 * answers wrongly, every listener gets one `failed` event and the client is over.
 */
import { z } from "zod";
import { asBullionError, BullionError } from "../contract/errors.ts";
import {
  type Cancellation,
  Drained,
  type Opening,
  type Submission,
  type WorkerEvent,
} from "../contract/worker.ts";
import { type ProcessSettings, PythonProcess } from "./process.ts";

export interface PumpPace {
  busyMs: number; // shortest pause between two drains
  idleMs: number; // longest pause after a drain that brought nothing
}

export type Listener = (event: WorkerEvent) => void;

const READY = "";
const MODULE = "bullion.worker";

export class WorkerClient {
  readonly #process: PythonProcess;
  readonly #pace: PumpPace;
  readonly #startTimeoutMs: number;
  readonly #listeners = new Map<string, Listener>();
  readonly #ended = Promise.withResolvers<BullionError>();
  #over: BullionError | null = null;
  #pumping = false;
  #wake: (() => void) | null = null;

  private constructor(process: PythonProcess, pace: PumpPace, startTimeoutMs: number) {
    this.#process = process;
    this.#pace = pace;
    this.#startTimeoutMs = startTimeoutMs;
    process.died.then(() => this.#end(process.deathOf("working")));
  }

  /** Starts a process and opens it in its role. Resolves before its libraries are loaded. */
  static async open(
    opening: Opening,
    settings: ProcessSettings,
    pace: PumpPace,
  ): Promise<WorkerClient> {
    const process = await PythonProcess.start(MODULE, settings);
    try {
      await process.call("open", z.unknown(), opening);
    } catch (error) {
      process.kill();
      throw error;
    }
    return new WorkerClient(process, pace, settings.startTimeoutMs);
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  /** Resolves with the reason once this client can do no more work. */
  get ended(): Promise<BullionError> {
    return this.#ended.promise;
  }

  get isOver(): boolean {
    return this.#over !== null;
  }

  /** Resolves with the machine's description when the process has its libraries and device. */
  ready(): Promise<Record<string, unknown>> {
    const { promise, resolve, reject } = Promise.withResolvers<Record<string, unknown>>();
    this.#listen(READY, (event) => {
      if (event.type === "ready") resolve(event.machine);
      else if (event.type === "failed") reject(BullionError.from(event.error));
      else return;
      this.#listeners.delete(READY);
    });
    return this.#process.within(promise, this.#startTimeoutMs, "the start of its libraries");
  }

  /** Submits work; its events go to `listener` until one of them is the last. */
  async submit(submission: Submission, listener: Listener): Promise<void> {
    if (this.#over) throw this.#over;
    this.#listen(submission.id, listener);
    try {
      await this.#process.call("submit", z.unknown(), submission);
    } catch (error) {
      this.#listeners.delete(submission.id);
      throw error;
    }
  }

  /** Asks work to end; the last event says when it has. Unknown ids are left alone. */
  async cancel(cancellation: Cancellation): Promise<void> {
    if (this.#over) return;
    await this.#process.call("cancel", z.unknown(), cancellation);
  }

  status(): Promise<Record<string, unknown>> {
    return this.#process.call("status", z.record(z.string(), z.unknown()));
  }

  kill(): void {
    this.#process.kill();
  }

  #listen(id: string, listener: Listener): void {
    if (this.#over) {
      listener({ type: "failed", id, error: this.#over.detail });
      return;
    }
    this.#listeners.set(id, listener);
    this.#wake?.();
    if (!this.#pumping) this.#pump();
  }

  async #pump(): Promise<void> {
    this.#pumping = true;
    const pace = new Pace(this.#pace);
    try {
      while (this.#listeners.size > 0 && !this.#over) {
        const { events } = await this.#process.call("drain", Drained);
        events.forEach((event) => this.#deliver(event));
        const pause = pace.after(events.length > 0);
        const listened = this.#listeners.size;
        if (listened > 0) await this.#sleep(pause);
        if (this.#listeners.size > listened) pace.begin();
      }
    } catch (error) {
      this.#end(asBullionError(error));
      this.#process.kill();
    } finally {
      this.#pumping = false;
    }
  }

  /** Sleeps; a new listener cuts it short. */
  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#wake?.(), ms);
      this.#wake = () => {
        clearTimeout(timer);
        this.#wake = null;
        resolve();
      };
    });
  }

  #deliver(event: WorkerEvent): void {
    const listener = this.#listeners.get(event.id);
    if (isLast(event)) this.#listeners.delete(event.id);
    listener?.(event);
  }

  #end(error: BullionError): void {
    if (this.#over) return;
    this.#over = error;
    const listeners = [...this.#listeners];
    this.#listeners.clear();
    for (const [id, listener] of listeners) listener({ type: "failed", id, error: error.detail });
    this.#ended.resolve(error);
    this.#wake?.();
  }
}

/**
 * How long to wait between two drains. After events: a little less than it took until the last ones
 * came. A first look that finds events says that the guess was long, an empty one that it was short.
 */
export class Pace {
  readonly #bounds: PumpPace;
  #step: number;
  #pause: number;
  #empty = 0;

  constructor(bounds: PumpPace) {
    this.#bounds = bounds;
    this.#step = this.#pause = bounds.busyMs;
  }

  /** New work: its first event is wanted at once. */
  begin(): void {
    this.#step = this.#pause = this.#bounds.busyMs;
    this.#empty = 0;
  }

  /** The pause, in milliseconds, after a drain that brought events or did not. */
  after(found: boolean): number {
    const { busyMs, idleMs } = this.#bounds;
    if (!found) {
      this.#pause = this.#empty++ === 0 ? busyMs : Math.min(idleMs, this.#pause * 1.5);
      return this.#pause;
    }
    const change = this.#empty === 0 ? -busyMs / 4 : this.#empty === 1 ? 0 : busyMs / 2;
    this.#step = Math.min(4 * idleMs, Math.max(busyMs, this.#step + change));
    this.#empty = 0;
    return this.#pause = this.#step;
  }
}

/** Whether no event of this id comes after this one. */
export function isLast(event: WorkerEvent): boolean {
  return ["finished", "stopped", "failed", "done"].includes(event.type);
}
