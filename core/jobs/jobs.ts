/**
 * Jobs as the rest of Bullion uses them: create, look, follow, stop; and what a restart does to them.
 *
 * Wires plan, data, queue and runner together. Every rule stands in one of those; here is only the order.
 */
import type { TrainerDoor } from "../../bridge/doors.ts";
import { BullionError } from "../../contract/errors.ts";
import type { JobKind } from "../../contract/job.ts";
import type { CheckpointObject, ExportJob, FineTuningJob } from "../../contract/job.ts";
import type { JobEventObject, JobQuery } from "../../contract/job.ts";
import type { Page, PageQuery } from "../../contract/page.ts";
import type { JobRow } from "../store/jobs.ts";
import type { Store } from "../store/store.ts";
import type { EncodedRecord, ExportRequest, Jobs, PreviewRequest, TrainRequest } from "../rooms.ts";
import { announcePlan } from "./announce.ts";
import { prepareAttempt, stepReached, whereItGoesOn } from "./attempt.ts";
import { Ledger } from "./ledger.ts";
import { hasEnded, type JobState, mayGoOn } from "./lifecycle.ts";
import {
  assertPublishedFree,
  type Plan,
  planExport,
  planFineTuning,
  type Planning,
  planYamlTraining,
} from "./plan.ts";
import { checkpointObject, exportJob, fineTuningJob, jobEvent } from "./present.ts";
import { preview } from "./preview.ts";
import { Queue } from "./queue.ts";
import { setAside, succeed } from "./results.ts";
import { type Device, Runner } from "./runner.ts";
import { Validation } from "./validation.ts";

export interface JobsParts {
  store: Store<Plan>;
  planning: Planning;
  trainer: TrainerDoor;
  device: Device;
  maxRecords: number;
  grace?: { cancel: number; pause: number; close: number };
}

/** Milliseconds. A cancel must be over within two seconds; a pause writes a checkpoint first. */
const GRACE = { cancel: 1_000, pause: 120_000, close: 8_000 };

export class JobRoom implements Jobs {
  readonly #parts: JobsParts;
  readonly #store: Store<Plan>;
  readonly #ledger: Ledger;
  readonly #queue: Queue;
  readonly #runner: Runner;
  readonly #closing = new AbortController();
  readonly #validation: Validation;

  constructor(parts: JobsParts) {
    const { store, trainer, device, grace = GRACE } = parts;
    this.#parts = parts;
    this.#store = store;
    const ledger = this.#ledger = new Ledger(store.events);
    this.#runner = new Runner({
      trainer,
      ledger,
      device,
      grace,
      prepare: (plan) => prepareAttempt(plan, store),
      goesOn: (plan) => ({ step: stepReached(plan, store), where: whereItGoesOn(plan, store) }),
      succeed: (plan, result) => succeed(plan, result, store, ledger),
      setAside: (plan) => setAside(plan, store),
    });
    this.#queue = new Queue(store, ledger, this.#runner);
    const { maxRecords } = parts;
    this.#validation = new Validation({
      store,
      ledger,
      maxRecords,
      onQueued: () => this.#queue.wake(),
    });
  }

  /** After a start: what was under way goes on, and says so. */
  recover(): void {
    for (const { id, plan } of this.#store.jobs.unfinished()) {
      const { status, stopping } = this.#ledger.state(id);
      if (status === "validating_files") this.#validation.add(plan);
      if (status === "running" && stopping === "cancel") {
        this.#ledger.append(id, { type: "cancelled" });
      } else if (status === "running" && stopping === "pause") {
        this.#ledger.append(id, { type: "paused" });
      } else if (status === "running" || status === "interrupted") {
        if (status === "running") {
          this.#ledger.append(id, { type: "interrupted", why: "the service ended without notice" });
        }
        this.#ledger.append(id, { type: "queued", why: whereItGoesOn(plan, this.#store) });
      }
    }
    this.#queue.wake();
  }

  // deno-lint-ignore require-await -- a refusal is a rejection, as for every other request
  async createTrain(request: TrainRequest): Promise<FineTuningJob> {
    const { planning } = this.#parts;
    if (request.kind === "openai") {
      return this.#showTrain(this.#create(planFineTuning(request.body, planning)));
    }
    const same = this.#sameCommand("train", request);
    if (same) return this.#showTrain(same);
    return this.#showTrain(this.#create(planYamlTraining(request.text, request.origin, planning)));
  }

  // deno-lint-ignore require-await -- as above
  async createExport(request: ExportRequest): Promise<ExportJob> {
    const same = this.#sameCommand("export", request);
    const row = same ??
      this.#create(planExport(request.text, request.origin, this.#parts.planning));
    return exportJob(row, this.#ledger.state(row.id));
  }

  preview(request: PreviewRequest): AsyncIterable<EncodedRecord> {
    const { planning, trainer, maxRecords } = this.#parts;
    return preview(request, planning, trainer, maxRecords);
  }

  listTrain(query: JobQuery): Page<FineTuningJob> {
    return this.#store.jobs.page("train", query, (row) => this.#showTrain(row));
  }

  listExports(query: PageQuery): Page<ExportJob> {
    return this.#store.jobs.page(
      "export",
      query,
      (row) => exportJob(row, this.#ledger.state(row.id)),
    );
  }

  getTrain(id: string): FineTuningJob {
    return this.#showTrain(this.#store.jobs.get(id, "train"));
  }

  getExport(id: string): ExportJob {
    return exportJob(this.#store.jobs.get(id, "export"), this.#ledger.state(id));
  }

  events(id: string, query: PageQuery): Page<JobEventObject> {
    this.#store.jobs.get(id);
    return this.#store.events.eventPage(id, query, jobEvent);
  }

  async *tail(
    id: string,
    afterSequence: number,
    signal: AbortSignal,
  ): AsyncGenerator<JobEventObject> {
    this.#store.jobs.get(id);
    const either = AbortSignal.any([signal, this.#closing.signal]);
    for await (const event of this.#ledger.tail(id, afterSequence, either)) yield jobEvent(event);
    if (signal.aborted || hasEnded(this.#state(id).status)) return;
    const message = `The service is ending and job ${id} has not: follow it again after the start`;
    throw new BullionError("service_stopping", message);
  }

  checkpoints(id: string, query: PageQuery): Page<CheckpointObject> {
    const { plan } = this.#store.jobs.get(id, "train");
    const { events } = this.#store;
    return events.checkpointPage(
      id,
      query,
      (row) => checkpointObject(row, plan, events.progressAt(id, row.step)),
    );
  }

  async cancel(id: string): Promise<FineTuningJob | ExportJob> {
    const row = this.#store.jobs.get(id);
    if (hasEnded(this.#state(id).status)) throw this.#cannot("cancel", row);
    if (this.#runner.jobId === id) await this.#runner.stop("cancel");
    else {
      this.#ledger.append(id, { type: "cancelled" });
      this.#validation.leave(id);
      setAside(row.plan, this.#store);
    }
    await this.#ledger.until(id, ({ status }) => hasEnded(status));
    return row.kind === "train" ? this.getTrain(id) : this.getExport(id);
  }

  async pause(id: string): Promise<FineTuningJob> {
    const row = this.#store.jobs.get(id, "train");
    const { status, stopping } = this.#state(id);
    const isReading = status === "validating_files";
    if (status !== "running" && status !== "queued" && !isReading) throw this.#cannot("pause", row);
    if (this.#runner.jobId === id) await this.#runner.stop("pause");
    else if (!isReading) this.#ledger.append(id, { type: "paused" });
    else if (stopping === null) this.#ledger.append(id, { type: "stop_requested", how: "pause" });
    // A process may take long to its next step, and data is read to its end: the answer says what
    // the job does until it has stopped.
    return this.getTrain(id);
  }

  // deno-lint-ignore require-await -- as above
  async resume(id: string): Promise<FineTuningJob> {
    const row = this.#store.jobs.get(id, "train");
    const state = this.#state(id);
    if (!mayGoOn(state)) throw this.#cannot("resume", row);
    // A job that failed held its output's name no longer.
    if (hasEnded(state.status)) assertPublishedFree(row.plan, this.#store);
    this.#ledger.append(id, { type: "queued", why: whereItGoesOn(row.plan, this.#store) });
    this.#queue.wake();
    return this.getTrain(id);
  }

  get load(): { running: string | null; queued: number } {
    return { running: this.#runner.jobId, queued: this.#queue.waiting().length };
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#queue.close();
    await this.#validation.close();
  }

  /**
   * A command that was ended and typed again is no new start: it follows its own unfinished job.
   */
  #sameCommand(
    kind: JobKind,
    { text, origin }: Pick<ExportRequest, "text" | "origin">,
  ): JobRow<Plan> | null {
    if (origin.kind !== "command_line") return null;
    const same = this.#store.jobs.unfinished().find(({ kind: its, plan }) =>
      its === kind && plan.text === text && plan.origin.kind === "command_line" &&
      plan.origin.cwd === origin.cwd
    );
    if (!same) return null;
    const note = "The same command again: it follows this job, which had not ended";
    this.#ledger.note(same.id, "info", "same_command", note);
    if (this.#state(same.id).status === "paused") {
      this.#ledger.append(same.id, { type: "queued", why: whereItGoesOn(same.plan, this.#store) });
      this.#queue.wake();
    }
    return same;
  }

  #create(plan: Plan): JobRow<Plan> {
    Deno.mkdirSync(this.#store.jobFolder(plan.id), { recursive: true });
    const { id, kind, published } = plan;
    const row = this.#ledger.atomically(id, () =>
      this.#store.transaction(() => {
        const row = this.#store.jobs.insert({ id, kind, plan, place: published?.place ?? null });
        this.#ledger.append(id, { type: "created", kind });
        announcePlan(plan, this.#ledger);
        return row;
      }));
    this.#validation.add(plan);
    return row;
  }

  #showTrain(row: JobRow<Plan>): FineTuningJob {
    return fineTuningJob(row, this.#state(row.id));
  }

  #state(id: string): JobState {
    return this.#ledger.state(id);
  }

  #cannot(verb: "cancel" | "pause" | "resume", row: JobRow<Plan>): BullionError {
    const { status } = this.#state(row.id);
    const code = hasEnded(status)
      ? "job_ended"
      : verb === "pause"
      ? "job_not_running"
      : "job_not_paused";
    const message = `Cannot ${verb} job ${row.id} as it is ${status}`;
    return new BullionError(code, message, { param: "id" });
  }
}
