/**
 * Functions that a chat may call, in OpenAI's shapes: declared, chosen, called.
 *
 * What a choice asks of the engine is decided in core/chat/tools.ts.
 */
import { z } from "zod";
import { Text } from "./text.ts";

const FunctionName = z.string().regex(
  /^[a-zA-Z0-9_-]{1,64}$/,
  "a function's name is 1 to 64 letters (a-z, A-Z), digits, underscores and hyphens",
);

export const Tool = z.strictObject({
  type: z.literal("function"),
  function: z.strictObject({
    name: FunctionName,
    description: Text.optional(),
    parameters: z.record(z.string(), z.unknown()).optional(),
    strict: z.boolean().nullable().optional(),
  }),
});
export type Tool = z.infer<typeof Tool>;

export const ToolChoice = z.union([
  z.enum(["none", "auto", "required"]),
  z.strictObject({ type: z.literal("function"), function: z.strictObject({ name: z.string() }) }),
]);
export type ToolChoice = z.infer<typeof ToolChoice>;

/** `arguments` is JSON text: an object. Clients send calls back with what they have added to them. */
export const ToolCall = z.object({
  id: Text,
  type: z.literal("function"),
  function: z.object({ name: Text, arguments: Text }),
});
export type ToolCall = z.infer<typeof ToolCall>;

/** The first of a call has all but the arguments, which follow in parts. */
export const ToolCallDelta = z.object({
  index: z.int(),
  id: z.string().optional(),
  type: z.literal("function").optional(),
  function: z.object({ name: z.string().optional(), arguments: z.string() }),
});
export type ToolCallDelta = z.infer<typeof ToolCallDelta>;

/** The words in which a model calls functions; null: its template has none, or none that is known. */
export const ToolFormat = z.enum(["llama3", "hermes"]);
export type ToolFormat = z.infer<typeof ToolFormat>;
