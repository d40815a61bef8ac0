/**
 * Jobs: what is stored of one (append-only events) and how OpenAI's wire shows it.
 *
 * `JobEventBody` is the domain's vocabulary: lifecycle events decide the status (core/jobs/lifecycle),
 * worker events are what the trainer process said. `FineTuningJob…` and `ExportJob` are wire objects.
 */
import { z } from "zod";
import { ErrorDetail } from "./errors.ts";
import type { PageQuery } from "./page.ts";

export const JobKind = z.enum(["train", "export"]);
export type JobKind = z.infer<typeof JobKind>;

export const JobStatus = z.enum([
  "validating_files",
  "queued",
  "running",
  "paused",
  "interrupted",
  "succeeded",
  "failed",
  "cancelled",
]);
export type JobStatus = z.infer<typeof JobStatus>;

const metrics = z.record(z.string(), z.number());

/** One thing that happened to a job. The first group moves the status, the second only tells. */
export const JobEventBody = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("created"), kind: JobKind }),
  z.strictObject({ type: z.literal("queued"), why: z.string() }),
  z.strictObject({
    type: z.literal("started"),
    attempt: z.int().positive(),
    resume_from: z.string().nullable(), // checkpoint folder, null: from the start
    resume_step: z.int().nullable(),
  }),
  z.strictObject({ type: z.literal("paused") }),
  z.strictObject({
    type: z.literal("interrupted"),
    why: z.string(),
    restart_step: z.int().optional(), // its process died by itself: the step from which it goes on
  }),
  z.strictObject({
    type: z.literal("succeeded"),
    model: z.string(), // id of the model that came of it
    result: z.record(z.string(), z.unknown()),
    result_files: z.array(z.string()).optional(), // ids; events of old had none
  }),
  z.strictObject({ type: z.literal("failed"), error: ErrorDetail }),
  z.strictObject({ type: z.literal("cancelled") }),

  z.strictObject({ type: z.literal("stop_requested"), how: z.enum(["cancel", "pause"]) }),
  z.strictObject({
    type: z.literal("message"),
    level: z.enum(["info", "warn", "error"]),
    code: z.string(),
    text: z.string(),
    data: z.record(z.string(), z.unknown()),
  }),
  z.strictObject({
    type: z.literal("progress"),
    step: z.int(),
    total_steps: z.int(),
    epoch: z.number(),
    loss: z.number(),
    learning_rate: z.number(),
    grad_norm: z.number(),
    tokens: z.int(),
    tokens_per_second: z.number(),
    seconds: z.number(),
    seconds_left: z.number(),
  }),
  z.strictObject({
    type: z.literal("evaluated"),
    step: z.int(),
    epoch: z.number(),
    eval_loss: z.number(),
    metrics,
  }),
  z.strictObject({
    type: z.literal("checkpoint"),
    step: z.int(),
    epoch: z.number(),
    path: z.string(),
    metrics,
  }),
  z.strictObject({ type: z.literal("checkpoint_removed"), step: z.int(), path: z.string() }),
]);
export type JobEventBody = z.infer<typeof JobEventBody>;

/** A stored event. `sequence` counts from 1 within its job, without gaps. */
export interface JobEvent {
  job_id: string;
  sequence: number;
  id: string;
  created_at: number; // Unix seconds, with fraction
  body: JobEventBody;
}

/** OpenAI's `fine_tuning.job.event`; `sequence` is what SSE carries as `id:`. */
export const JobEventObject = z.object({
  id: z.string(),
  object: z.literal("fine_tuning.job.event"),
  created_at: z.int(),
  level: z.enum(["info", "warn", "error"]),
  message: z.string(),
  type: z.enum(["message", "metrics"]),
  data: JobEventBody,
  sequence: z.int(),
});
export type JobEventObject = z.infer<typeof JobEventObject>;

export const CheckpointObject = z.object({
  id: z.string(),
  object: z.literal("fine_tuning.job.checkpoint"),
  created_at: z.int(),
  fine_tuned_model_checkpoint: z.string(),
  fine_tuning_job_id: z.string(),
  step_number: z.int(),
  metrics: z.record(z.string(), z.number()),
});
export type CheckpointObject = z.infer<typeof CheckpointObject>;

const Auto = z.literal("auto");

export const Hyperparameters = z.strictObject({
  n_epochs: z.union([Auto, z.number().positive()]).optional(),
  batch_size: z.union([Auto, z.int().positive()]).optional(),
  learning_rate_multiplier: z.union([Auto, z.number().positive()]).optional(),
});
export type Hyperparameters = z.infer<typeof Hyperparameters>;

export const SupervisedMethod = z.strictObject({
  type: z.literal("supervised"),
  supervised: z.strictObject({ hyperparameters: Hyperparameters.optional() }).optional(),
});

const Metadata = z.record(z.string().max(64), z.string().max(512)).nullable();

/** Body of `POST /v1/fine_tuning/jobs` in OpenAI's form. */
export const CreateFineTuningJob = z.strictObject({
  model: z.string().min(1),
  training_file: z.string().min(1),
  validation_file: z.string().nullable().optional(),
  // Told apart by its type, so that of another method nothing but the type is refused.
  method: z.discriminatedUnion("type", [SupervisedMethod]).optional(),
  hyperparameters: Hyperparameters.optional(),
  suffix: z.string().min(1).max(64).regex(
    /^[A-Za-z0-9._-]+$/,
    { error: ({ input }) => `letters, digits, '.', '_' and '-' are allowed, got ${input}` },
  ).nullable().optional(),
  seed: z.int().min(0).nullable().optional(),
  metadata: Metadata.optional(),
  integrations: z.array(z.unknown()).max(0, "no integration is offered: leave it out").nullable()
    .optional(),
});
export type CreateFineTuningJob = z.infer<typeof CreateFineTuningJob>;

/** Which jobs to list; `metadata` as OpenAI's clients filter by it. */
export type JobQuery = PageQuery & { metadata?: Record<string, string> | null };

/** OpenAI's `fine_tuning.job`, with what Bullion adds after `metadata`. */
export const FineTuningJob = z.object({
  id: z.string(),
  object: z.literal("fine_tuning.job"),
  created_at: z.int(),
  finished_at: z.int().nullable(),
  estimated_finish: z.int().nullable(),
  model: z.string(),
  fine_tuned_model: z.string().nullable(),
  organization_id: z.string(),
  status: z.enum([
    "validating_files",
    "queued",
    "running",
    "paused",
    "succeeded",
    "failed",
    "cancelled",
  ]),
  hyperparameters: Hyperparameters,
  method: SupervisedMethod,
  training_file: z.string(),
  validation_file: z.string().nullable(),
  result_files: z.array(z.string()),
  trained_tokens: z.int().nullable(),
  error: ErrorDetail.nullable(),
  seed: z.int(),
  metadata: Metadata,
  integrations: z.array(z.unknown()).nullable(),

  output_dir: z.string().nullable(), // published name
  path: z.string(), // folder of the artefacts, there while the job runs
  progress: z.record(z.string(), z.unknown()).nullable(), // the newest progress event
  result: z.record(z.string(), z.unknown()).nullable(),
});
export type FineTuningJob = z.infer<typeof FineTuningJob>;

/** A merge and export; ours, as OpenAI has none. */
export const ExportJob = z.object({
  id: z.string(),
  object: z.literal("export"),
  created_at: z.int(),
  finished_at: z.int().nullable(),
  status: FineTuningJob.shape.status,
  model: z.string(), // the base, as written
  adapters: z.array(z.string()), // as written
  export_dir: z.string().nullable(), // published name, also a model name
  path: z.string(),
  merged_model: z.string().nullable(), // id to chat with, once succeeded
  error: ErrorDetail.nullable(),
  result: z.record(z.string(), z.unknown()).nullable(), // verification: differences, top-1 share
});
export type ExportJob = z.infer<typeof ExportJob>;
