/**
 * Runs one job in one trainer process: starts it, writes down what it says, ends it when asked.
 *
 * Owns the process for as long as it lives. Which job comes next is the queue's matter, what becomes
 * of a result is core/jobs/results; a job's state is the ledger's alone.
 */
import type { RunningWork, TrainerDoor, TrainerWork } from "../../bridge/doors.ts";
import { asBullionError, type ErrorDetail } from "../../contract/errors.ts";
import type { WorkerEvent } from "../../contract/worker.ts";
import type { Ledger } from "./ledger.ts";
import { hasEnded } from "./lifecycle.ts";
import type { Plan } from "./plan.ts";

/** Room on the device: the engine may have to leave it while a job runs. */
export interface Device {
  /** Makes room before a process starts. The returned function gives the device back. */
  take(jobId: string): Promise<() => void>;
  /** A trainer process has said what machine it is on. */
  seen(machine: Record<string, unknown>): void;
}

export interface RunnerParts {
  trainer: TrainerDoor;
  ledger: Ledger;
  device: Device;
  /** The work for an attempt, and the checkpoint it goes on from. May throw a refusal. */
  prepare(plan: Plan): Promise<{ work: TrainerWork; step: number | null }>;
  /** The step that the next attempt goes on from, 0: the start; and the same in words. */
  goesOn(plan: Plan): { step: number; where: string };
  /** Publishes a finished job and appends `succeeded`. */
  succeed(plan: Plan, result: Record<string, unknown>): Promise<void>;
  /** After a job has ended or been set aside without a result. */
  setAside(plan: Plan): void;
  /** How long a process that was asked to end may take, in milliseconds. */
  grace: { cancel: number; pause: number; close: number };
}

type Wish = "cancel" | "pause" | "close";

interface Current {
  plan: Plan;
  work: RunningWork | null; // null until a process is started
  wish: Wish | null;
  isKilled: boolean; // by us, as its grace was over
}

export class Runner {
  readonly #parts: RunnerParts;
  #current: Current | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(parts: RunnerParts) {
    this.#parts = parts;
  }

  get jobId(): string | null {
    return this.#current?.plan.id ?? null;
  }

  /** Runs a queued job until it has ended, paused or been interrupted. Never throws. */
  async run(plan: Plan): Promise<void> {
    const current: Current = { plan, work: null, wish: null, isKilled: false };
    this.#current = current;
    let giveBack = () => {};
    try {
      giveBack = await this.#parts.device.take(plan.id);
      if (current.wish === null) await this.#attempt(current);
    } catch (thrown) {
      current.work?.kill();
      await this.#died(current, asBullionError(thrown));
    } finally {
      clearTimeout(this.#timer);
      current.work?.kill();
      this.#current = null;
      giveBack();
    }
  }

  /** Asks the job that runs to end; it is killed when its grace is over. */
  async stop(wish: Wish): Promise<void> {
    const current = this.#current;
    if (!current) return;
    const { ledger, grace } = this.#parts;
    const { plan, work } = current;
    if (!work) {
      current.wish = wish;
      if (ledger.state(plan.id).status !== "running") this.#stopped(plan, wish);
      return;
    }
    // What a user asked for first stays; only a cancel overrides a pause.
    if (current.wish !== null && !(current.wish === "pause" && wish === "cancel")) return;
    current.wish = wish;
    if (wish !== "close" && !hasEnded(ledger.state(plan.id).status)) {
      ledger.append(plan.id, { type: "stop_requested", how: wish });
    }
    const kill = () => {
      current.isKilled = true;
      work.kill();
    };
    clearTimeout(this.#timer);
    this.#timer = setTimeout(kill, grace[wish]);
    // Ending with the service is a pause for the process: it writes a checkpoint if it can.
    await work.stop(wish === "cancel" ? "cancel" : "pause").catch(kill);
  }

  async #attempt(current: Current): Promise<void> {
    const { ledger, trainer, prepare } = this.#parts;
    const { plan } = current;
    const { work, step } = await prepare(plan);
    if (current.wish !== null) return;
    const resume_from = work.type === "train" ? work.spec.resume_from : null;
    const attempt = ledger.state(plan.id).attempts + 1;
    ledger.append(plan.id, { type: "started", attempt, resume_from, resume_step: step });
    current.work = trainer.start(work);
    for await (const event of current.work.events) {
      if (await this.#handle(current, event)) return;
    }
    throw new Error("the trainer process ended without a last word");
  }

  /** The end of a process that did not say how it ends. A wish explains it, unless it went wrong. */
  async #died(current: Current, error: ErrorDetail): Promise<void> {
    const { plan, wish } = current;
    const { ledger, setAside } = this.#parts;
    const isDead = current.isKilled || error.code === "python_died";
    const isAsWished = wish === "cancel" || wish === "close" || (wish === "pause" && isDead);
    if (ledger.state(plan.id).status === "running") {
      if (isAsWished) {
        if (wish === "pause" && !current.isKilled) {
          const text = `The trainer process died before it had paused: ${error.message}`;
          ledger.note(plan.id, "warn", "trainer_died", text);
        }
        return this.#stopped(plan, wish);
      }
      if (error.code === "python_died") {
        if (this.#startAgain(current, error)) return;
        error = deadAgain(error, plan, this.#parts.goesOn(plan).where);
      }
    }
    await ledger.fail(plan.id, error, () => current.wish === "close");
    setAside(plan);
  }

  /** Queues a job whose process died by itself. False if the last such start brought it no further. */
  #startAgain(current: Current, error: ErrorDetail): boolean {
    const { ledger, goesOn } = this.#parts;
    const { plan } = current;
    const { restart_step } = ledger.state(plan.id);
    const { step, where } = goesOn(plan);
    if (restart_step !== null && step <= restart_step) return false;
    current.work = null; // who stops the job from now on finds it queued
    const why = `its trainer process died: ${error.message}`;
    ledger.append(plan.id, { type: "interrupted", why, restart_step: step });
    ledger.append(plan.id, { type: "queued", why: where });
    return true;
  }

  /** Writes down one event. True when it was the last one. */
  async #handle(current: Current, event: WorkerEvent): Promise<boolean> {
    const { ledger, device, succeed } = this.#parts;
    const { plan, wish } = current;
    switch (event.type) {
      case "ready":
        device.seen(event.machine);
        return false;
      case "message":
      case "progress":
      case "evaluated":
      case "checkpoint":
      case "checkpoint_removed": {
        const { id: _, ...body } = event;
        ledger.append(plan.id, body);
        return false;
      }
      case "finished":
        await succeed(plan, event.result);
        return true;
      case "stopped":
        this.#stopped(plan, wish ?? event.how);
        return true;
      case "failed":
        await this.#died(current, event.error);
        return true;
      default:
        return false; // words of other kinds of work
    }
  }

  #stopped(plan: Plan, wish: Wish): void {
    const { ledger, setAside } = this.#parts;
    const why = "the service was stopped";
    const { status } = ledger.state(plan.id);
    if (hasEnded(status) || (wish === "pause" && status === "paused")) return;
    // Before a process was started the job is still queued, and stays so for the next start.
    if (wish === "close" && status !== "running") return;
    if (wish === "cancel") ledger.append(plan.id, { type: "cancelled" });
    else if (wish === "pause") ledger.append(plan.id, { type: "paused" });
    else ledger.append(plan.id, { type: "interrupted", why });
    setAside(plan);
  }
}

/** A death that starting again does not help against, with what its user can do. */
function deadAgain({ code, message, param }: ErrorDetail, plan: Plan, where: string): ErrorDetail {
  const goOn = plan.kind === "export"
    ? "start the export again"
    : `resume the job (POST /v1/fine_tuning/jobs/${plan.id}/resume): ${where}`;
  return {
    code,
    message: `${message}. It had died before and was started again, and got no further since. ` +
      "SIGKILL is mostly the system's, as memory ran out: free some, or give the machine more, " +
      `then ${goOn}` +
      (plan.kind === "train" ? ". A new job with a lower cutoff_len needs less" : ""),
    param,
  };
}
