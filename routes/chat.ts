/** `/v1/chat/completions`, whole or streamed. */
import { createRoute } from "@hono/zod-openapi";
import { ChatCompletion, ChatRequest } from "../contract/chat.ts";
import type { Chat } from "../core/service.ts";
import type { App } from "./router.ts";
import { leavingOf, sendEvents } from "./events.ts";
import { answers } from "./responses.ts";
import { chunkFrames } from "./streams.ts";

const create = createRoute({
  method: "post",
  path: "/v1/chat/completions",
  tags: ["Chat"],
  summary: "Chat with a model; with stream=true as server-sent events",
  request: { body: { required: true, content: { "application/json": { schema: ChatRequest } } } },
  responses: answers(ChatCompletion, "The answer"),
});

export function addChat(app: App, chat: Chat): void {
  app.openapi(create, async (c) => {
    const request = c.req.valid("json");
    if (!request.stream) return c.json(await chat.complete(request, c.req.raw.signal), 200);
    const leaving = leavingOf(c);
    const chunks = await chat.stream(request, leaving.signal);
    return sendEvents(c, leaving, chunkFrames(chunks)) as never;
  });
}
