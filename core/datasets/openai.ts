/**
 * OpenAI's training lines, `{"messages": […], "tools": […]}`, as canonical turns.
 *
 * A line that no answer ends is a fault, as it is for OpenAI. Several tool answers in a row become one
 * observation. LLaMA-Factory 0.9.4 writes "detailed thinking off" into the system text of this format;
 * that is left out here.
 */
import type { DataDescription, Turn } from "../../contract/dataset.ts";
import { messagesIn, shown, textIn, toolsIn } from "./columns.ts";
import { type Conversion, RecordFault, wrongOrder } from "./conversion.ts";

type Message = Record<string, unknown>;

export function openaiTurns(source: Message, { columns, tags }: DataDescription): Conversion {
  const messages = messagesIn(source, columns.messages);
  const roleOf = (message: Message) => message[tags.role_tag];
  const isSystem = (message: Message) =>
    roleOf(message) === tags.system_tag || roleOf(message) === "developer";
  let system = textIn(source, columns.system);
  let spoken = messages;
  if (messages[0] !== undefined && isSystem(messages[0])) {
    system = contentOf(messages[0], tags.content_tag);
    spoken = messages.slice(1);
  }
  if (!spoken.some((message) => roleOf(message) === tags.assistant_tag)) {
    throw new RecordFault(`has no assistant turn; nothing can be learned from it`);
  }
  if (roleOf(spoken.at(-1)!) !== tags.assistant_tag) {
    throw new RecordFault(`ends with ${shown(roleOf(spoken.at(-1)!))}, without an assistant turn`);
  }
  const turns: Turn[] = [];
  for (const message of spoken) {
    const role = roleOf(message);
    if (role === tags.user_tag) {
      turns.push({ role: "user", content: contentOf(message, tags.content_tag) });
    } else if (role === tags.assistant_tag) {
      turns.push(answer(message, tags.content_tag));
    } else if (role === tags.observation_tag || role === tags.function_tag) {
      const content = contentOf(message, tags.content_tag);
      const last = turns.at(-1);
      if (last?.role === "observation") last.content += `\n${content}`;
      else turns.push({ role: "observation", content });
    } else if (isSystem(message)) {
      return { drop: `has a ${role} message after the first one` };
    } else {
      throw new RecordFault(
        `${tags.role_tag} is system, developer, user, assistant or tool, got ${shown(role)}`,
      );
    }
  }
  const wrong = wrongOrder(turns);
  if (wrong !== null) return { drop: wrong };
  return { system: system || null, tools: toolsOf(source, columns.tools), turns };
}

function answer(message: Message, contentTag: string): Turn {
  if (message.weight === 0) {
    throw new RecordFault(
      "has an assistant turn of weight 0, but every one is trained; cut it off",
    );
  }
  const calls = Array.isArray(message.tool_calls)
    ? message.tool_calls.map((call: unknown) => (call as Message | null)?.function)
    : message.function_call == null
    ? []
    : [message.function_call];
  if (calls.length === 0) {
    return { role: "assistant", content: contentOf(message, contentTag) };
  }
  const functions = calls.map(calledFunction);
  const content = JSON.stringify(functions.length === 1 ? functions[0] : functions);
  return { role: "function_call", content };
}

/** OpenAI writes arguments as JSON text; in canonical turns they are an object. */
function calledFunction(call: unknown): { name: string; arguments: unknown } {
  const { name, arguments: given } = (call ?? {}) as Message;
  if (typeof name !== "string") throw new RecordFault(`a tool call has no name: ${shown(call)}`);
  if (typeof given !== "string") return { name, arguments: given ?? {} };
  try {
    return { name, arguments: JSON.parse(given === "" ? "{}" : given) };
  } catch {
    throw new RecordFault(`the arguments of the call of ${name} are no JSON: ${shown(given)}`);
  }
}

/** A text, or a list of text parts. */
function contentOf(message: Message, contentTag: string): string {
  const content = message[contentTag];
  if (typeof content === "string") return content;
  if (Array.isArray(content)) {
    const parts = content.map((part) => part?.type === "text" ? part.text : undefined);
    if (parts.every((part) => typeof part === "string")) return parts.join("");
  }
  throw new RecordFault(`a message's ${contentTag} is a text, got ${shown(content)}`);
}

/** OpenAI wraps each tool as `{type: "function", function: {…}}`; templates want the inner part. */
function toolsOf(source: Message, column: string | null): string | null {
  const text = toolsIn(source, column);
  if (text === null) return null;
  const tools: unknown = JSON.parse(text);
  if (!Array.isArray(tools)) return text;
  return JSON.stringify(tools.map((tool) => tool.type === "function" ? tool.function : tool));
}
