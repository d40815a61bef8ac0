/** Reads the columns of a source record; what is of another type than it should be is a RecordFault. */
import { RecordFault } from "./conversion.ts";

type Source = Record<string, unknown>;

export function messagesIn(source: Source, column: string | null): Source[] {
  const messages = column === null ? undefined : source[column];
  const isMessage = (value: unknown): value is Source =>
    value !== null && typeof value === "object" && !Array.isArray(value);
  if (Array.isArray(messages) && messages.every(isMessage)) return messages;
  throw new RecordFault(
    messages === undefined
      ? `has no column ${column}; it has ${Object.keys(source).join(", ")}`
      : `${column} is a list of messages, got ${shown(messages)}`,
  );
}

export function requiredText(message: Source, tag: string): string {
  const value = message[tag];
  if (typeof value === "string") return value;
  throw new RecordFault(`a message's ${tag} is a text, got ${shown(value)}`);
}

/** Null for an absent or unmapped column. */
export function textIn(source: Source, column: string | null): string | null {
  const value = column === null ? null : source[column] ?? null;
  if (value === null || typeof value === "string") return value;
  throw new RecordFault(`${column} is a text, got ${shown(value)}`);
}

/** Tools as JSON text of a list of objects, which may stand in the source as text already. */
export function toolsIn(source: Source, column: string | null): string | null {
  const value = column === null ? null : source[column] ?? null;
  if (value === null || value === "") return null;
  const tools = typeof value === "string" ? parsed(value) : value;
  const list = Array.isArray(tools) ? tools : [tools];
  if (!list.every((tool) => tool !== null && typeof tool === "object" && !Array.isArray(tool))) {
    throw new RecordFault(`${column} is a list of tools as JSON, got ${shown(value)}`);
  }
  if (list.length === 0) return null;
  return typeof value === "string" ? value : JSON.stringify(value);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

export function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
