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

/**
 * The description that fits a record, null if none does. Which list holds the messages and how they are
 * called is looked up apart, as `conversations` with role and content is found as often as with from
 * and value.
 */
export function detectDescription(record: Record<string, unknown>): DataDescription | null {
  const column = ["messages", "conversations"].find((name) => Array.isArray(record[name]));
  if (column === undefined) {
    const isAlpaca = ["instruction", "input", "output"].some((name) => name in record);
    return isAlpaca ? defaultDescription("alpaca") : null;
  }
  const [first] = record[column] as unknown[];
  const hasRole = first !== null && typeof first === "object" && "role" in first;
  const isBare = first === undefined; // an empty list says nothing: its usual name decides
  const format = hasRole || (isBare && column === "messages") ? "openai" : "sharegpt";
  const description = defaultDescription(format);
  return { ...description, columns: { ...description.columns, messages: column } };
}
