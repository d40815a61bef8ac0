/**
 * The messages between Deno and a Python process: what is submitted, what comes back by `drain`.
 *
 * Only JSON strings cross the bridge; these schemas are checked on every message that arrives.
 * The Python twin is py/bullion/contract/worker.py.
 */
import { z } from "zod";
import { ErrorDetail } from "./errors.ts";
import { BaseModel, EncodeSpec, ExportSpec, TrainSpec } from "./recipe.ts";

export const Role = z.enum(["trainer", "engine"]);
export type Role = z.infer<typeof Role>;

/** First message to a process. */
export const Opening = z.discriminatedUnion("role", [
  z.strictObject({ role: z.literal("trainer"), threads: z.int().positive().nullable() }),
  z.strictObject({
    role: z.literal("engine"),
    threads: z.int().positive().nullable(), // torch threads on the CPU; null: the process decides
    kv_memory_gb: z.number().positive().nullable(), // null: what is left on the device
    max_running: z.int().positive(), // streams decoded at the same time
    max_waiting: z.int().positive(), // requests queued behind them, beyond: queue_full
    prefill_tokens: z.int().positive(), // tokens of prompt computed between two decode steps
    cuda_graphs: z.boolean(),
  }),
]);
export type Opening = z.infer<typeof Opening>;

/** A model the engine serves: a base, or a base with one unmerged adapter over it. */
export const ServedModel = z.strictObject({
  name: z.string(),
  base: BaseModel,
  adapter: z.string().nullable(), // adapter folder
});
export type ServedModel = z.infer<typeof ServedModel>;

export const Message = z.strictObject({
  role: z.enum(["system", "user", "assistant", "tool"]),
  content: z.string(),
  name: z.string().nullable().default(null),
  tool_calls: z.array(z.record(z.string(), z.unknown())).nullable().default(null), // arguments: objects
  tool_call_id: z.string().nullable().default(null),
});
export type Message = z.infer<typeof Message>;

export const Prompt = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("ids"), ids: z.array(z.int().min(0)) }),
  z.strictObject({ kind: z.literal("text"), text: z.string() }),
  z.strictObject({
    kind: z.literal("chat"),
    messages: z.array(Message),
    tools: z.array(z.record(z.string(), z.unknown())).nullable(),
  }),
]);
export type Prompt = z.infer<typeof Prompt>;

export const Sampling = z.strictObject({
  max_tokens: z.int().min(0).nullable(), // null: what is left of the context
  temperature: z.number().min(0), // 0: greedy
  top_p: z.number().gt(0).max(1),
  top_k: z.int().min(0), // 0: off
  min_p: z.number().min(0).max(1),
  repetition_penalty: z.number().positive(),
  presence_penalty: z.number(),
  frequency_penalty: z.number(),
  logit_bias: z.record(z.string(), z.number()), // token id → added logit
  seed: z.number().refine(Number.isInteger).nullable(), // up to 64 bits
  stop: z.array(z.string()),
  ignore_eos: z.boolean(),
});
export type Sampling = z.infer<typeof Sampling>;

export const ResponseFormat = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("text") }),
  z.strictObject({ type: z.literal("json_object") }),
  z.strictObject({ type: z.literal("json_schema"), schema: z.record(z.string(), z.unknown()) }),
  z.strictObject({
    type: z.literal("tool_calls"), // nothing but calls, in the words of the model's chat template
    functions: z.array(z.strictObject({
      name: z.string(),
      parameters: z.record(z.string(), z.unknown()), // a JSON schema of an object
    })).min(1),
    several: z.boolean(), // one call or more; false: exactly one
  }),
]);

export const GenerateSpec = z.strictObject({
  model: z.string(), // a ServedModel's name
  prompt: Prompt,
  n: z.int().min(1),
  sampling: Sampling,
  logprobs: z.int().min(0).nullable(), // how many alternatives a token; null: none
  echo: z.boolean(), // the prompt's tokens (and logprobs) come back first
  format: ResponseFormat,
});
export type GenerateSpec = z.infer<typeof GenerateSpec>;

/** What is submitted. `id` names the work and every event of it. */
export const Submission = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("train"), id: z.string(), spec: TrainSpec }),
  z.strictObject({ type: z.literal("export"), id: z.string(), spec: ExportSpec }),
  z.strictObject({ type: z.literal("encode"), id: z.string(), spec: EncodeSpec }),
  z.strictObject({ type: z.literal("probe"), id: z.string() }), // what can this machine do?
  z.strictObject({ type: z.literal("load"), id: z.string(), model: ServedModel }),
  z.strictObject({ type: z.literal("unload"), id: z.string(), model: z.string() }),
  z.strictObject({ type: z.literal("generate"), id: z.string(), spec: GenerateSpec }),
  z.strictObject({
    type: z.literal("tokenize"),
    id: z.string(),
    model: z.string(),
    prompt: Prompt,
    add_special_tokens: z.boolean(),
  }),
  z.strictObject({
    type: z.literal("detokenize"),
    id: z.string(),
    model: z.string(),
    ids: z.array(z.int().min(0)),
  }),
]);
export type Submission = z.infer<typeof Submission>;

export const Cancellation = z.strictObject({ id: z.string(), how: z.enum(["cancel", "pause"]) });
export type Cancellation = z.infer<typeof Cancellation>;

/** One generated or echoed token's log probability and its best rivals, natural log. */
export const TokenLogprob = z.strictObject({
  id: z.int(),
  text: z.string(),
  bytes: z.array(z.int()),
  logprob: z.number().nullable(), // null: the first token of an echoed prompt
  top: z.array(z.strictObject({
    id: z.int(),
    text: z.string(),
    bytes: z.array(z.int()),
    logprob: z.number(),
  })),
  offset: z.int(), // code points of the choice's text, its echo included, before the token's
});
export type TokenLogprob = z.infer<typeof TokenLogprob>;

export const FinishReason = z.enum(["stop", "length", "tool_calls", "cancelled"]);

export const Usage = z.strictObject({
  prompt_tokens: z.int(),
  completion_tokens: z.int(),
  cached_tokens: z.int(), // of the prompt, not computed again
});
export type Usage = z.infer<typeof Usage>;

const id = z.string();

export const Progress = z.strictObject({
  type: z.literal("progress"),
  id,
  step: z.int(),
  total_steps: z.int(),
  epoch: z.number(),
  loss: z.number(), // mean of the step losses since the last progress
  learning_rate: z.number(),
  grad_norm: z.number(), // before clipping
  tokens: z.int(), // so far, of all records seen
  tokens_per_second: z.number(),
  seconds: z.number(), // since the first step began
  seconds_left: z.number(),
});
export type Progress = z.infer<typeof Progress>;

export const WorkerEvent = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("ready"), // id: ""; the process has its libraries and its device
    id,
    machine: z.record(z.string(), z.unknown()),
  }),
  z.strictObject({
    type: z.literal("message"),
    id,
    level: z.enum(["info", "warn"]),
    code: z.string(), // stable, e.g. "key_has_no_effect", "records_truncated", "phase"
    text: z.string(),
    data: z.record(z.string(), z.unknown()),
  }),
  Progress,
  z.strictObject({
    type: z.literal("evaluated"),
    id,
    step: z.int(),
    epoch: z.number(),
    eval_loss: z.number(),
    metrics: z.record(z.string(), z.number()),
  }),
  z.strictObject({
    type: z.literal("checkpoint"),
    id,
    step: z.int(),
    epoch: z.number(),
    path: z.string(),
    metrics: z.record(z.string(), z.number()),
  }),
  z.strictObject({
    type: z.literal("checkpoint_removed"),
    id,
    step: z.int(),
    path: z.string(),
  }),
  z.strictObject({
    type: z.literal("finished"), // train, export, encode, probe, load, unload, (de)tokenize
    id,
    result: z.record(z.string(), z.unknown()),
  }),
  z.strictObject({ type: z.literal("stopped"), id, how: z.enum(["cancel", "pause"]) }),
  z.strictObject({ type: z.literal("failed"), id, error: ErrorDetail }),
  z.strictObject({
    type: z.literal("delta"), // generate: text of choice `index`, a batch of tokens at a time
    id,
    index: z.int(),
    text: z.string(),
    tokens: z.array(TokenLogprob).nullable(), // when logprobs were asked for
    count: z.int(), // generated tokens this delta stands for
    finish_reason: FinishReason.nullable(),
  }),
  z.strictObject({ type: z.literal("done"), id, usage: Usage }), // generate: after every choice ended
  z.strictObject({
    type: z.literal("encoded"),
    id,
    records: z.array(z.record(z.string(), z.unknown())),
  }),
]);
export type WorkerEvent = z.infer<typeof WorkerEvent>;

/** What every facade call returns. */
export const Answer = z.union([
  z.strictObject({ ok: z.unknown() }),
  z.strictObject({ error: ErrorDetail }),
]);

export const Drained = z.strictObject({ events: z.array(WorkerEvent) });
