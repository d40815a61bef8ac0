/**
 * One source record of each format as canonical turns, by LLaMA-Factory's rules.
 *
 * Three outcomes: turns; `drop`, a record that LLaMA-Factory leaves out as well (wrong order of roles, no
 * answer); `fault`, a record that says something else than its format allows.
 */
import type { DataDescription, Turn, TurnRole } from "../../contract/dataset.ts";
import { messagesIn, requiredText, shown, textIn, toolsIn } from "./columns.ts";
import { type Conversion, RecordFault, wrongOrder } from "./conversion.ts";
import { openaiTurns } from "./openai.ts";

type Source = Record<string, unknown>;

export function convertRecord(source: Source, description: DataDescription): Conversion {
  try {
    switch (description.format) {
      case "alpaca":
        return alpaca(source, description);
      case "sharegpt":
        return sharegpt(source, description);
      case "openai":
        return openaiTurns(source, description);
    }
  } catch (error) {
    if (error instanceof RecordFault) return { fault: error.message };
    throw error;
  }
}

function alpaca(source: Source, { columns }: DataDescription): Conversion {
  const named = [columns.prompt, columns.query, columns.response].filter((name) => name !== null);
  if (!named.some((name) => name in source)) {
    throw new RecordFault(
      `has none of the columns ${named.join(", ")}; it has ${Object.keys(source).join(", ")}`,
    );
  }
  const turns: Turn[] = [];
  for (const [question, answer] of history(source, columns.history)) {
    turns.push({ role: "user", content: question }, { role: "assistant", content: answer });
  }
  const asked = [textIn(source, columns.prompt), textIn(source, columns.query)];
  turns.push({ role: "user", content: asked.filter(Boolean).join("\n") });
  const answer = textIn(source, columns.response);
  if (answer === null) return { drop: `has no answer in ${columns.response}` };
  turns.push({ role: "assistant", content: answer });
  return {
    system: textIn(source, columns.system) || null,
    tools: toolsIn(source, columns.tools),
    turns,
  };
}

function history(source: Source, column: string | null): [string, string][] {
  const pairs = column === null ? null : source[column] ?? null;
  if (pairs === null) return [];
  const isPair = (pair: unknown): pair is [string, string] =>
    Array.isArray(pair) && pair.length === 2 && pair.every((side) => typeof side === "string");
  if (Array.isArray(pairs) && pairs.every(isPair)) return pairs;
  throw new RecordFault(`${column} is a list of [question, answer] pairs, got ${shown(pairs)}`);
}

function sharegpt(source: Source, { columns, tags }: DataDescription): Conversion {
  let messages = messagesIn(source, columns.messages).map((message) => ({
    role: requiredText(message, tags.role_tag),
    content: requiredText(message, tags.content_tag),
  }));
  let system = textIn(source, columns.system);
  if (tags.system_tag !== null && messages[0]?.role === tags.system_tag) {
    system = messages[0].content;
    messages = messages.slice(1);
  }
  const roles = new Map<string, TurnRole>();
  if (tags.user_tag !== null) roles.set(tags.user_tag, "user");
  if (tags.assistant_tag !== null) roles.set(tags.assistant_tag, "assistant");
  if (tags.observation_tag !== null) roles.set(tags.observation_tag, "observation");
  if (tags.function_tag !== null) roles.set(tags.function_tag, "function_call");
  const turns: Turn[] = [];
  for (const [place, { role, content }] of messages.entries()) {
    const known = roles.get(role);
    if (known === undefined) return { drop: `${tags.role_tag} is ${role} in message ${place + 1}` };
    turns.push({ role: known, content });
  }
  const wrong = wrongOrder(turns);
  if (wrong !== null) return { drop: wrong };
  return { system: system || null, tools: toolsIn(source, columns.tools), turns };
}
