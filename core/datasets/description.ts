/**
 * How the columns and tags of a format are called: as LLaMA-Factory has them by default, or as found
 * in a first record.
 */
import type { DataColumns, DataDescription, DataFormat, DataTags } from "../../contract/dataset.ts";

export const NO_COLUMNS: DataColumns = {
  prompt: null,
  query: null,
  response: null,
  history: null,
  messages: null,
  system: null,
  tools: null,
};

const COLUMNS: Record<DataFormat, DataColumns> = {
  // A column `system` or `history` counts only where it is mapped: LLaMA-Factory's rule.
  alpaca: { ...NO_COLUMNS, prompt: "instruction", query: "input", response: "output" },
  sharegpt: { ...NO_COLUMNS, messages: "conversations" },
  openai: { ...NO_COLUMNS, messages: "messages", tools: "tools" },
};

const SHAREGPT_TAGS: DataTags = {
  role_tag: "from",
  content_tag: "value",
  user_tag: "human",
  assistant_tag: "gpt",
  observation_tag: "observation",
  function_tag: "function_call",
  system_tag: "system",
};

const OPENAI_TAGS: DataTags = {
  role_tag: "role",
  content_tag: "content",
  user_tag: "user",
  assistant_tag: "assistant",
  observation_tag: "tool",
  function_tag: "function",
  system_tag: "system",
};

export function defaultDescription(format: DataFormat): DataDescription {
  const tags = format === "openai" ? OPENAI_TAGS : SHAREGPT_TAGS;
  return { format, columns: { ...COLUMNS[format] }, tags: { ...tags } };
}

/** The format of a record by its columns; null if it is none that is known. */
export function detectFormat(record: Record<string, unknown>): DataFormat | null {
  if (Array.isArray(record.messages)) return "openai";
  if (Array.isArray(record.conversations)) return "sharegpt";
  return ["instruction", "input", "output"].some((column) => column in record) ? "alpaca" : null;
}
