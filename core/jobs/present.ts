/**
 * Jobs, events and checkpoints as clients see them. Pure.
 */
import type {
  CheckpointObject,
  ExportJob,
  FineTuningJob,
  JobEvent,
  JobEventObject,
} from "../../contract/job.ts";
import { checkpointId } from "../models/names.ts";
import type { CheckpointRow } from "../store/events.ts";
import type { JobRow } from "../store/jobs.ts";
import type { JobState } from "./lifecycle.ts";
import type { ExportPlan, Plan, TrainPlan } from "./plan.ts";
import { modelOf } from "./results.ts";

const seconds = (time: number) => Math.floor(time);

/** OpenAI's words know no interruption: such a job waits to go on. */
function wireStatus({ status }: JobState): FineTuningJob["status"] {
  return status === "interrupted" ? "queued" : status;
}

export function fineTuningJob(
  row: JobRow<Plan>,
  state: JobState,
  now = Date.now() / 1000,
): FineTuningJob {
  const plan = row.plan as TrainPlan;
  const { progress, status } = state;
  const left = status === "running" && progress ? progress.seconds_left : null;
  const trained = state.result?.trained_tokens ?? progress?.tokens;
  return {
    id: row.id,
    object: "fine_tuning.job",
    created_at: seconds(row.created_at),
    finished_at: state.finished_at === null ? null : seconds(state.finished_at),
    estimated_finish: left === null ? null : seconds(now + left),
    model: plan.model.name,
    fine_tuned_model: state.model,
    organization_id: "bullion",
    status: wireStatus(state),
    hyperparameters: plan.request.hyperparameters,
    method: {
      type: "supervised",
      supervised: { hyperparameters: plan.request.hyperparameters },
    },
    training_file: plan.sources.train.map(({ name }) => name).join(","),
    validation_file: plan.sources.eval.map(({ name }) => name).join(",") || null,
    result_files: [],
    trained_tokens: typeof trained === "number" ? Math.floor(trained) : null,
    error: state.error,
    seed: plan.keys.seed,
    metadata: plan.request.metadata ?? null,
    integrations: null,
    output_dir: plan.published?.name ?? null,
    path: plan.output,
    progress,
    result: state.result,
  };
}

export function exportJob(row: JobRow<Plan>, state: JobState): ExportJob {
  const plan = row.plan as ExportPlan;
  return {
    id: row.id,
    object: "export",
    created_at: seconds(row.created_at),
    finished_at: state.finished_at === null ? null : seconds(state.finished_at),
    status: wireStatus(state),
    model: plan.model.name,
    adapters: plan.adapters.map(({ name }) => name),
    export_dir: plan.published?.name ?? null,
    path: plan.output,
    merged_model: state.model,
    error: state.error,
    result: state.result,
  };
}

export function jobEvent(event: JobEvent): JobEventObject {
  const { body } = event;
  return {
    id: event.id,
    object: "fine_tuning.job.event",
    created_at: seconds(event.created_at),
    level: body.type === "message" ? body.level : body.type === "failed" ? "error" : "info",
    message: sentence(event),
    type: body.type === "progress" || body.type === "evaluated" ? "metrics" : "message",
    data: body,
    sequence: event.sequence,
  };
}

export function checkpointObject(row: CheckpointRow, plan: Plan): CheckpointObject {
  return {
    id: row.id,
    object: "fine_tuning.job.checkpoint",
    created_at: seconds(row.created_at),
    fine_tuned_model_checkpoint: checkpointId(modelOf(plan), row.step),
    fine_tuning_job_id: row.job_id,
    step_number: row.step,
    metrics: row.metrics,
  };
}

function sentence({ body }: JobEvent): string {
  switch (body.type) {
    case "created":
      return body.kind === "train" ? "Training job created" : "Export job created";
    case "queued":
      return `Job queued: ${body.why}`;
    case "started":
      return body.resume_from === null
        ? body.attempt === 1 ? "Job started" : "Job started again from the beginning"
        : `Job goes on from ${body.resume_from}`;
    case "paused":
      return "Job paused";
    case "interrupted":
      return `Job interrupted: ${body.why}`;
    case "succeeded":
      return `Job succeeded: ${body.model}`;
    case "failed":
      return `Job failed: ${body.error.message}`;
    case "cancelled":
      return "Job cancelled";
    case "stop_requested":
      return body.how === "cancel" ? "Cancelling" : "Pausing at the next step";
    case "message":
      return body.text;
    case "progress":
      return `Step ${body.step}/${body.total_steps}: loss ${body.loss.toFixed(4)}, ` +
        `learning rate ${body.learning_rate.toPrecision(4)}`;
    case "evaluated":
      return `Evaluation at step ${body.step}: loss ${body.eval_loss.toFixed(4)}`;
    case "checkpoint":
      return `Checkpoint at step ${body.step}`;
    case "checkpoint_removed":
      return `Checkpoint of step ${body.step} removed (save_total_limit)`;
  }
}
