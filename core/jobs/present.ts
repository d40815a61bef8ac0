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
  const { progress, finishing_at } = state;
  const hyperparameters = resolved(plan);
  const tokens = state.result?.tokens;
  return {
    id: row.id,
    object: "fine_tuning.job",
    created_at: seconds(row.created_at),
    finished_at: state.finished_at === null ? null : seconds(state.finished_at),
    // A job that takes longer than it foresaw ends at the soonest now.
    estimated_finish: finishing_at === null ? null : seconds(Math.max(now, finishing_at)),
    model: plan.model.name,
    fine_tuned_model: state.model,
    organization_id: "bullion",
    status: wireStatus(state),
    hyperparameters,
    method: { type: "supervised", supervised: { hyperparameters } },
    training_file: plan.sources.train.map(({ name }) => name).join(","),
    validation_file: plan.sources.eval.map(({ name }) => name).join(",") || null,
    result_files: state.result_files,
    // As OpenAI counts them: all that were computed, prompts too; null before the end.
    trained_tokens: typeof tokens === "number" ? tokens : null,
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

/** What "auto" came to be. The multiplier is that of the recipe's own rate. */
function resolved({ request, keys }: TrainPlan): FineTuningJob["hyperparameters"] {
  const { n_epochs, batch_size, learning_rate_multiplier } = request.hyperparameters;
  const a_step = keys.per_device_train_batch_size * keys.gradient_accumulation_steps;
  return {
    n_epochs: n_epochs === "auto" ? keys.num_train_epochs : n_epochs,
    batch_size: batch_size === "auto" ? a_step : batch_size,
    learning_rate_multiplier: learning_rate_multiplier === "auto" ? 1 : learning_rate_multiplier,
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

/** `progress` is the newest one that had come at the checkpoint's step. */
export function checkpointObject(
  row: CheckpointRow,
  plan: Plan,
  progress: JobState["progress"],
): CheckpointObject {
  return {
    id: row.id,
    object: "fine_tuning.job.checkpoint",
    created_at: seconds(row.created_at),
    fine_tuned_model_checkpoint: checkpointId(modelOf(plan), row.step),
    fine_tuning_job_id: row.job_id,
    step_number: row.step,
    metrics: { ...row.metrics, ...openaiMetrics(row.metrics, progress) },
  };
}

/** The same under OpenAI's names; all of the validation data is evaluated each time. */
function openaiMetrics(
  { eval_loss, eval_accuracy }: Record<string, number>,
  progress: JobState["progress"],
): Record<string, number> {
  return {
    ...(progress && { train_loss: progress.loss }),
    ...(eval_loss !== undefined && { valid_loss: eval_loss, full_valid_loss: eval_loss }),
    ...(eval_accuracy !== undefined && {
      valid_mean_token_accuracy: eval_accuracy,
      full_valid_mean_token_accuracy: eval_accuracy,
    }),
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
      return body.how === "cancel"
        ? "Cancelling"
        : "Pausing at the next step, or once its data is read";
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
