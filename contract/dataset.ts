/**
 * Training data as every room speaks of it: how a file is described, what a record is, and what was
 * found while reading.
 *
 * The canonical JSONL (one `TrainingRecord` a line) is the only form that Python reads; core/datasets
 * turns every other format into it. The description follows LLaMA-Factory's dataset_info.json.
 */
import { z } from "zod";

/** Who speaks. `observation` is a tool's answer, `function_call` the assistant's call of it. */
export const TurnRole = z.enum(["user", "assistant", "observation", "function_call"]);
export type TurnRole = z.infer<typeof TurnRole>;

export const Turn = z.strictObject({ role: TurnRole, content: z.string() });
export type Turn = z.infer<typeof Turn>;

/**
 * One line of canonical JSONL. `turns` alternates: what is asked (user, observation) at even places,
 * what is answered (assistant, function_call) at odd ones; so its length is even and at least 2.
 */
export const TrainingRecord = z.strictObject({
  index: z.int().min(0), // place in the source, dropped records counted: "the first N" means index < N
  system: z.string().min(1).nullable(),
  tools: z.string().min(1).nullable(), // JSON text of the list of tools
  turns: z.array(Turn).min(2),
});
export type TrainingRecord = z.infer<typeof TrainingRecord>;

export const DataFormat = z.enum(["alpaca", "sharegpt", "openai"]);
export type DataFormat = z.infer<typeof DataFormat>;

/** Which column of a source record plays which part; null: none does. */
export const DataColumns = z.strictObject({
  prompt: z.string().nullable(),
  query: z.string().nullable(),
  response: z.string().nullable(),
  history: z.string().nullable(),
  messages: z.string().nullable(),
  system: z.string().nullable(),
  tools: z.string().nullable(),
});
export type DataColumns = z.infer<typeof DataColumns>;

/** What the parts of one message are called, and the words for its roles; null: no such role. */
export const DataTags = z.strictObject({
  role_tag: z.string(),
  content_tag: z.string(),
  user_tag: z.string().nullable(),
  assistant_tag: z.string().nullable(),
  observation_tag: z.string().nullable(),
  function_tag: z.string().nullable(),
  system_tag: z.string().nullable(),
});
export type DataTags = z.infer<typeof DataTags>;

export const DataDescription = z.strictObject({
  format: DataFormat,
  columns: DataColumns,
  tags: DataTags,
});
export type DataDescription = z.infer<typeof DataDescription>;

/** A record that could be read but not be trained on; LLaMA-Factory leaves it out as well. */
export const DroppedRecord = z.strictObject({
  index: z.int().min(0),
  line: z.int().positive(), // where it begins in the source, from 1
  reason: z.string(),
});
export type DroppedRecord = z.infer<typeof DroppedRecord>;

export const DataReport = z.strictObject({
  format: DataFormat,
  layout: z.enum(["json", "jsonl"]),
  description: DataDescription, // as it was used, given or detected
  bytes: z.int(), // of the source
  sha256: z.string(), // of the source, hex
  source_records: z.int(),
  records: z.int(), // in the canonical form
  dropped: z.array(DroppedRecord),
  special_token_texts: z.strictObject({ // strings like <|eot_id|> inside texts; they stay text
    records: z.int(),
    occurrences: z.int(),
    first_lines: z.array(z.int()), // at most ten
  }),
  notes: z.array(z.string()), // what a user should know, as sentences
});
export type DataReport = z.infer<typeof DataReport>;
