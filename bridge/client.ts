/**
 * A Python process with a role: opened, submitted to, and drained by one pump.
 *
 * Python rings when it has events; the pump then asks for them, as long as somebody listens, and gives
 * each to the listener of its id. It asks now and then without a ring, so that a process that hangs is
 * found out; one that is watched is asked when it is idle too. When the process dies, hangs or answers
 * wrongly, every listener gets one `failed` event and the client is over.
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

export type Listener = (event: WorkerEvent) => void;

const READY = "";
const MODULE = "bullion.worker";

/** An idle process is asked that much less often than one at work: nobody waits for what it would say. */
const IDLE_HEARTBEATS = 10;

/** Who asks for health gives up after some seconds, and a process that can work answers in far less. */
const STATUS_PATIENCE_MS = 2_000;

export class WorkerClient {
  readonly #process: PythonProcess;
  readonly #settings: ProcessSettings;
  readonly #listeners = new Map<string, Listener>();
  readonly #ended = Promise.withResolvers<BullionError>();
  #over: BullionError | null = null;
  #killed = false;
  #reason: BullionError | null = null;
  #pumping = false;
  #rung = false;
  #wake: (() => void) | null = null;
  #status: Promise<Record<string, unknown> | null> | null = null;

  private constructor(process: PythonProcess, settings: ProcessSettings) {
    this.#process = process;
    this.#settings = settings;
    process.onBell(() => {
      this.#rung = true;
      this.#wake?.();
    });
    process.died.then(() => this.#end(this.#causeOf(process.deathOf("working"))));
  }

  /** Starts a process and opens it in its role. Resolves before its libraries are loaded. */
  static async open(opening: Opening, settings: ProcessSettings): Promise<WorkerClient> {
    const process = await PythonProcess.start(MODULE, settings);
    try {
      await process.call("open", z.unknown(), opening);
    } catch (error) {
      process.kill();
      throw error;
    }
    return new WorkerClient(process, settings);
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

  /** Whether its end was asked for. */
  get isKilled(): boolean {
    return this.#killed;
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
    return this.#process.within(
      promise,
      this.#settings.startTimeoutMs,
      "the start of its libraries",
    );
  }

  /** Submits work; its events go to `listener` until one of them is the last. */
  async submit(submission: Submission, listener: Listener): Promise<void> {
    if (this.#over) throw this.#over;
    this.#listen(submission.id, listener);
    try {
      await this.#process.call("submit", z.unknown(), submission);
    } catch (error) {
      this.#listeners.delete(submission.id);
      throw this.#causeOf(error);
    }
  }

  /** Asks work to end; the last event says when it has. Unknown ids are left alone. */
  async cancel(cancellation: Cancellation): Promise<void> {
    if (this.#over) return;
    await this.#process.call("cancel", z.unknown(), cancellation);
  }

  /**
   * What the process says of itself; null when the question has been open for STATUS_PATIENCE_MS. All who
   * ask meanwhile share it, and a process that leaves it open for a call's whole time is ended.
   */
  status(): Promise<Record<string, unknown> | null> {
    return this.#status ??= this.#askStatus();
  }

  /** From now on finds out that the process hangs while it is idle, too. */
  watch(): void {
    const everyMs = IDLE_HEARTBEATS * this.#settings.heartbeatMs;
    const timer = setInterval(() => {
      if (!this.#pumping) this.status().catch(() => {});
    }, everyMs);
    this.ended.then(() => clearInterval(timer));
  }

  /** Ends the process now; what it leaves undone fails with `reason`, where one is given. */
  kill(reason: BullionError | null = null): void {
    this.#killed = true;
    this.#reason ??= reason;
    this.#process.kill();
  }

  /** Why work failed: a death that was asked for is told by its reason, not by its signal. */
  #causeOf(thrown: unknown): BullionError {
    const error = asBullionError(thrown);
    return error.code === "python_died" ? this.#reason ?? error : error;
  }

  #askStatus(): Promise<Record<string, unknown> | null> {
    const { promise: late, resolve } = Promise.withResolvers<null>();
    const timer = setTimeout(() => resolve(null), STATUS_PATIENCE_MS);
    const answer = this.#process.call("status", z.record(z.string(), z.unknown()))
      .catch((error) => {
        if (error.code === "python_timeout") this.#fail(error);
        throw error;
      })
      .finally(() => {
        clearTimeout(timer);
        this.#status = null;
      });
    answer.catch(() => {}); // nobody may be waiting for it any more
    return Promise.race([answer, late]);
  }

  #listen(id: string, listener: Listener): void {
    if (this.#over) {
      listener({ type: "failed", id, error: this.#over.detail });
      return;
    }
    this.#listeners.set(id, listener);
    if (!this.#pumping) this.#pump();
  }

  async #pump(): Promise<void> {
    this.#pumping = true;
    try {
      while (this.#listeners.size > 0) {
        await this.#ring();
        if (this.#over) return;
        this.#rung = false;
        const { events } = await this.#process.call("drain", Drained);
        events.forEach((event) => this.#deliver(event));
      }
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#pumping = false;
    }
  }

  /** Resolves when there are events, when it is time to look anyway, or when all is over. */
  async #ring(): Promise<void> {
    if (this.#rung || this.#over) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, this.#settings.heartbeatMs);
    this.#wake = resolve;
    await promise;
    clearTimeout(timer);
    this.#wake = null;
  }

  #deliver(event: WorkerEvent): void {
    const listener = this.#listeners.get(event.id);
    if (isLast(event)) this.#listeners.delete(event.id);
    listener?.(event);
  }

  /** Of no use any more: it hangs, or says what nobody understands. */
  #fail(error: unknown): void {
    this.#end(this.#causeOf(error));
    this.#process.kill();
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

/** Whether no event of this id comes after this one. */
export function isLast(event: WorkerEvent): boolean {
  return ["finished", "stopped", "failed", "done"].includes(event.type);
}
