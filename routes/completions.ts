/** `/v1/completions` and the tokenizer's three paths at the root, as evaluation harnesses ask them. */
import { createRoute, z } from "@hono/zod-openapi";
import {
  Completion,
  CompletionRequest,
  DetokenizeRequest,
  TokenizeRequest,
  TokenizerInfo,
} from "../contract/chat.ts";
import type { Chat } from "../core/service.ts";
import type { App } from "./router.ts";
import { leavingOf, sendEvents } from "./events.ts";
import { answers } from "./responses.ts";
import { chunkFrames } from "./streams.ts";

const create = createRoute({
  method: "post",
  path: "/v1/completions",
  tags: ["Completions"],
  summary: "Continue a text or token ids; with echo and logprobs also score them",
  request: {
    body: { required: true, content: { "application/json": { schema: CompletionRequest } } },
  },
  responses: answers(Completion, "The continuation"),
});

const tokenize = createRoute({
  method: "post",
  path: "/tokenize",
  tags: ["Tokens"],
  summary: "A text as token ids",
  request: {
    body: { required: true, content: { "application/json": { schema: TokenizeRequest } } },
  },
  responses: answers(z.object({ tokens: z.array(z.int()) }), "The ids"),
});

const detokenize = createRoute({
  method: "post",
  path: "/detokenize",
  tags: ["Tokens"],
  summary: "Token ids as text",
  request: {
    body: { required: true, content: { "application/json": { schema: DetokenizeRequest } } },
  },
  responses: answers(z.object({ prompt: z.string() }), "The text"),
});

const tokenizerInfo = createRoute({
  method: "get",
  path: "/tokenizer_info",
  tags: ["Tokens"],
  summary: "A model's special tokens and chat template",
  request: { query: z.object({ model: z.string().optional() }) },
  responses: answers(TokenizerInfo, "The tokenizer's description"),
});

export function addCompletions(app: App, chat: Chat): void {
  app.openapi(create, async (c) => {
    const request = c.req.valid("json");
    if (!request.stream) return c.json(await chat.completeText(request, c.req.raw.signal), 200);
    const leaving = leavingOf(c);
    const chunks = await chat.streamText(request, leaving.signal);
    return sendEvents(c, leaving, chunkFrames(chunks)) as never;
  });
  app.openapi(tokenize, async (c) => c.json(await chat.tokenize(c.req.valid("json")), 200));
  app.openapi(detokenize, async (c) => c.json(await chat.detokenize(c.req.valid("json")), 200));
  app.openapi(
    tokenizerInfo,
    async (c) => c.json(await chat.tokenizerInfo(c.req.valid("query").model), 200),
  );
}
