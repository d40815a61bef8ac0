/**
 * Every setting of the server with its type and its default; configs/server.yaml documents the same
 * keys for people. Where the values come from is in server.ts.
 */
import { z } from "zod";

const words = (text: string): string[] => text.split(",").map((w) => w.trim()).filter(Boolean);

/** A list, or one text with commas: an environment variable has no other way to hold a list. */
const texts = z.preprocess(
  (value) => typeof value === "string" ? words(value) : value,
  z.array(z.string().min(1)),
);

const Limits = z.strictObject({
  max_upload_bytes: z.int().positive().default(536_870_912), // one file, data set or document
  max_body_bytes: z.int().positive().default(16_777_216), // one JSON or YAML body
  max_pdf_pages: z.int().positive().default(2_000),
  max_records: z.int().positive().default(1_000_000), // of one data set
});

const Engine = z.strictObject({
  threads: z.int().positive().nullable().default(null), // CPU threads of torch; null: it decides
  kv_memory_gb: z.number().positive().nullable().default(null), // null: what is left on the device
  max_running: z.int().positive().default(128), // streams decoded at the same time
  max_waiting: z.int().min(0).default(512), // requests queued behind them; more are refused
  prefill_tokens: z.int().positive().default(2_048), // prompt tokens between two decode steps
  cuda_graphs: z.boolean().default(true),
  idle_seconds: z.number().positive().nullable().default(null), // unload after; null: never
  max_models: z.int().positive().default(4), // bases in memory at the same time
});

const Jobs = z.strictObject({
  gpu: z.enum(["auto", "exclusive", "shared"]).default("auto"),
  threads: z.int().positive().nullable().default(null), // CPU threads of a trainer
  keep_spare: z.boolean().default(true), // the next job's interpreter is started beforehand
});

const Bridge = z.strictObject({
  start_timeout_ms: z.int().positive().default(180_000), // a Python process, its imports included
  call_timeout_ms: z.int().positive().default(30_000), // one answer of it
  heartbeat_ms: z.int().positive().default(1_000), // between two looks whether it still answers
});

export const ServerSettings = z.strictObject({
  host: z.string().min(1).default("127.0.0.1"),
  port: z.int().min(0).max(65_535).default(8321), // 0: any free one
  data_dir: z.string().min(1).default(".bullion"),
  models_file: z.string().min(1).nullable().default(null), // null: configs/models.yaml as shipped
  hub: z.enum(["huggingface", "modelscope"]).default("huggingface"),
  python: z.string().min(1).nullable().default(null), // null: the environment Bullion prepares
  trust_remote_code: z.boolean().default(false),
  api_keys: texts.default([]),
  cors_origins: texts.default([]), // whose pages may ask from a browser
  log_level: z.enum(["debug", "info", "warn", "error"]).default("info"),
  limits: Limits.prefault({}),
  engine: Engine.prefault({}),
  jobs: Jobs.prefault({}),
  bridge: Bridge.prefault({}),
});
export type ServerSettings = z.infer<typeof ServerSettings>;

/** Each leaf's path and schema: `["engine", "threads"]`. */
export function settingPaths(): { path: string[]; schema: z.ZodType }[] {
  return Object.entries(ServerSettings.shape).flatMap(([name, schema]) => {
    const section: unknown = schema instanceof z.ZodPrefault ? schema.unwrap() : null;
    return section instanceof z.ZodObject
      ? Object.entries(section.shape).map(([leaf, inner]) => ({
        path: [name, leaf],
        schema: inner as z.ZodType,
      }))
      : [{ path: [name], schema }];
  });
}
