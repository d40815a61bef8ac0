/**
 * Chat and text completions in OpenAI's shapes: requests as they are parsed, answers as they are sent.
 *
 * What a request means for the engine is decided in core/chat. Fields of OpenAI's that change nothing
 * in a self-hosted service are accepted by name; any other unknown field is refused.
 */
import { z } from "zod";
import { Text } from "./text.ts";
import { Tool, ToolCall, ToolCallDelta, ToolChoice, ToolFormat } from "./tools.ts";

/**
 * A seed of up to 64 bits, signed or not. JavaScript rounds one beyond 2^53 to the nearest double: it
 * still gives the same text each time.
 */
const Seed = z.number().refine(
  (value) => Number.isInteger(value) && value >= -(2 ** 63) && value <= 2 ** 64,
  { error: ({ input }) => `an integer from -2^63 to 2^64 - 1 is needed, got ${input}` },
).nullish().meta({ type: ["integer", "null"] });

const TokenId = z.string().regex(/^\d+$/, "a key is the id of a token, in digits");

const TextPart = z.strictObject({ type: z.literal("text"), text: Text });
const Content = z.union([Text, z.array(TextPart)]);
const RefusalPart = z.strictObject({ type: z.literal("refusal"), refusal: Text });
const Said = z.union([Text, z.array(z.discriminatedUnion("type", [TextPart, RefusalPart]))]);

export const ChatMessage = z.discriminatedUnion("role", [
  z.strictObject({ role: z.literal("developer"), content: Content, name: Text.optional() }),
  z.strictObject({ role: z.literal("system"), content: Content, name: Text.optional() }),
  z.strictObject({ role: z.literal("user"), content: Content, name: Text.optional() }),
  // Not strict: clients send an answer back whole, with `refusal`, `annotations` or `parsed` in it.
  z.object({
    role: z.literal("assistant"),
    content: Said.nullable().optional(),
    name: Text.optional(),
    tool_calls: z.array(ToolCall).nullish(),
  }),
  z.strictObject({ role: z.literal("tool"), content: Content, tool_call_id: Text }),
]);
export type ChatMessage = z.infer<typeof ChatMessage>;

const Format = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("text") }),
  z.strictObject({ type: z.literal("json_object") }),
  z.strictObject({
    type: z.literal("json_schema"),
    json_schema: z.strictObject({
      name: z.string(),
      description: z.string().optional(),
      schema: z.record(z.string(), z.unknown()).optional(),
      strict: z.boolean().nullable().optional(),
    }),
  }),
]);

/** What chat and completion requests share. The last four are extensions many servers know. */
const sampling = {
  model: z.string().min(1).max(1_000),
  frequency_penalty: z.number().min(-2).max(2).nullish(),
  presence_penalty: z.number().min(-2).max(2).nullish(),
  logit_bias: z.record(TokenId, z.number().min(-100).max(100)).nullish(),
  max_tokens: z.int().min(0).nullish(),
  n: z.int().min(1).max(128).nullish(),
  seed: Seed,
  stop: z.union([Text, z.array(Text).max(4)]).nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.strictObject({
    include_usage: z.boolean().nullish(),
    include_obfuscation: z.boolean().nullish(), // accepted, changes nothing: chunks are not padded
  }).nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  user: z.string().nullish(), // accepted, changes nothing
  top_k: z.int().min(-1).nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  repetition_penalty: z.number().min(0.01).max(100).nullish(),
  ignore_eos: z.boolean().nullish(),
};

export const ChatRequest = z.strictObject({
  ...sampling,
  messages: z.array(ChatMessage).min(1),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.int().min(0).max(20).nullish(),
  max_completion_tokens: z.int().min(1).nullish(),
  tools: z.array(Tool).nullish(),
  tool_choice: ToolChoice.nullish(),
  parallel_tool_calls: z.boolean().nullish(), // false: one call at most
  response_format: Format.nullish(),
  // Accepted, change nothing:
  metadata: z.record(z.string(), z.string()).nullish(),
  modalities: z.array(z.literal("text")).nullish(),
  prediction: z.null().optional(),
  prompt_cache_key: z.string().nullish(),
  reasoning_effort: z.string().nullish(),
  safety_identifier: z.string().nullish(),
  service_tier: z.string().nullish(),
  store: z.boolean().nullish(),
  verbosity: z.string().nullish(),
});
export type ChatRequest = z.infer<typeof ChatRequest>;

export const CompletionRequest = z.strictObject({
  ...sampling,
  prompt: z.union([
    Text,
    z.array(Text).min(1),
    z.array(z.int().min(0)).min(1),
    z.array(z.array(z.int().min(0)).min(1)).min(1),
  ]),
  echo: z.boolean().nullish(),
  logprobs: z.int().min(0).max(20).nullish(),
  best_of: z.int().min(1).nullish(), // refused where it differs from n
  suffix: z.string().nullish(), // refused where it is not empty
});
export type CompletionRequest = z.infer<typeof CompletionRequest>;

export const CompletionUsage = z.object({
  prompt_tokens: z.int(),
  completion_tokens: z.int(),
  total_tokens: z.int(),
  prompt_tokens_details: z.object({ cached_tokens: z.int() }),
});
export type CompletionUsage = z.infer<typeof CompletionUsage>;

export const WireFinishReason = z.enum(["stop", "length", "tool_calls"]);
export type WireFinishReason = z.infer<typeof WireFinishReason>;

const ChatLogprob = z.object({
  token: z.string(),
  logprob: z.number(),
  bytes: z.array(z.int()).nullable(),
  top_logprobs: z.array(z.object({
    token: z.string(),
    logprob: z.number(),
    bytes: z.array(z.int()).nullable(),
  })),
});
const ChatLogprobs = z.object({
  content: z.array(ChatLogprob).nullable(),
  refusal: z.null(),
}).nullable();
export type ChatLogprobs = z.infer<typeof ChatLogprobs>;

export const ChatCompletion = z.object({
  id: z.string(),
  object: z.literal("chat.completion"),
  created: z.int(),
  model: z.string(),
  choices: z.array(z.object({
    index: z.int(),
    message: z.object({
      role: z.literal("assistant"),
      content: z.string().nullable(), // null: it calls functions and says nothing else
      refusal: z.null(),
      tool_calls: z.array(ToolCall).optional(),
    }),
    logprobs: ChatLogprobs,
    finish_reason: WireFinishReason,
  })),
  usage: CompletionUsage,
});
export type ChatCompletion = z.infer<typeof ChatCompletion>;

export const ChatCompletionChunk = z.object({
  id: z.string(),
  object: z.literal("chat.completion.chunk"),
  created: z.int(),
  model: z.string(),
  choices: z.array(z.object({
    index: z.int(),
    delta: z.object({
      role: z.literal("assistant").optional(),
      content: z.string().nullable().optional(),
      tool_calls: z.array(ToolCallDelta).optional(),
    }),
    logprobs: ChatLogprobs.optional(),
    finish_reason: WireFinishReason.nullable(),
  })),
  usage: CompletionUsage.nullable().optional(), // with include_usage: null but in the last chunk
});
export type ChatCompletionChunk = z.infer<typeof ChatCompletionChunk>;

const TextLogprobs = z.object({
  tokens: z.array(z.string()),
  token_logprobs: z.array(z.number().nullable()), // null: the first token of an echoed prompt
  top_logprobs: z.array(z.record(z.string(), z.number()).nullable()),
  text_offset: z.array(z.int()),
}).nullable();
export type TextLogprobs = z.infer<typeof TextLogprobs>;

/** Whole answers and chunks of a stream have the same shape; in a chunk `usage` may be missing. */
export const Completion = z.object({
  id: z.string(),
  object: z.literal("text_completion"),
  created: z.int(),
  model: z.string(),
  choices: z.array(z.object({
    index: z.int(),
    text: z.string(),
    logprobs: TextLogprobs,
    finish_reason: WireFinishReason.nullable(),
  })),
  usage: CompletionUsage.nullable().optional(),
});
export type Completion = z.infer<typeof Completion>;

export const TokenizeRequest = z.strictObject({
  model: z.string().optional(), // left out: the one model that is loaded
  prompt: Text,
  add_special_tokens: z.boolean().nullish(), // left out: true
});
export type TokenizeRequest = z.infer<typeof TokenizeRequest>;

/** What clients that build prompts themselves ask of a tokenizer; null: it has none. */
export const TokenizerInfo = z.object({
  tokenizer_class: z.string(),
  bos_token: z.string().nullable(),
  eos_token: z.string().nullable(),
  pad_token: z.string().nullable(),
  unk_token: z.string().nullable(),
  add_bos_token: z.boolean(),
  chat_template: z.string().nullable(),
  tool_format: ToolFormat.nullable(),
  model_max_length: z.int(),
  vocab_size: z.int(),
});
export type TokenizerInfo = z.infer<typeof TokenizerInfo>;

export const DetokenizeRequest = z.strictObject({
  model: z.string().optional(),
  tokens: z.array(z.int().min(0)),
});
export type DetokenizeRequest = z.infer<typeof DetokenizeRequest>;
