/**
 * Functions that a chat may call, in OpenAI's shapes: declared, chosen, called.
 *
 * What a choice asks of the engine is decided in core/chat/tools.ts.
 */
import { z } from "zod";

export const Tool = z.strictObject({
  type: z.literal("function"),
  function: z.strictObject({
    name: z.string().min(1),
    description: z.string().optional(),
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
  id: z.string(),
  type: z.literal("function"),
  function: z.object({ name: z.string(), arguments: z.string() }),
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
