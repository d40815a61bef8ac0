/** Server-sent events, byte for byte, and what happens when one side goes away. */
import assert from "node:assert/strict";
import type { ChatCompletionChunk } from "../../contract/chat.ts";
import { BullionError } from "../../contract/errors.ts";
import type { JobEventObject } from "../../contract/job.ts";
import { appOver, errorOf, post } from "./fake_service.ts";

const asked = { model: "m", messages: [{ role: "user", content: "hello" }], stream: true };

function chunk(content: string, finish_reason: "stop" | null = null): ChatCompletionChunk {
  const choices = [{ index: 0, delta: { content }, finish_reason }];
  return { id: "chatcmpl-1", object: "chat.completion.chunk", created: 7, model: "m", choices };
}

function event(sequence: number): JobEventObject {
  const data = { type: "paused" } as const;
  const shown = { level: "info", message: "Job paused", type: "message" } as const;
  const object = "fine_tuning.job.event";
  return { id: `ftevent-${sequence}`, object, created_at: 7, ...shown, data, sequence };
}

const streaming = (stream: () => AsyncIterable<ChatCompletionChunk>) =>
  appOver({ chat: { stream: () => Promise.resolve(stream()) } });

Deno.test("chunks of a chat come one JSON a frame, then [DONE]", async () => {
  const app = streaming(async function* () {
    yield chunk("净利润\n");
    yield chunk("", "stop");
  });
  const response = await app.request("/v1/chat/completions", post(asked));
  assert.equal(response.headers.get("content-type"), "text/event-stream");
  assert.equal(response.headers.get("cache-control"), "no-cache");
  const head = '{"id":"chatcmpl-1","object":"chat.completion.chunk","created":7,"model":"m",';
  assert.equal(
    await response.text(),
    `data: ${head}"choices":[{"index":0,"delta":{"content":"净利润\\n"},"finish_reason":null}]}\n\n` +
      `data: ${head}"choices":[{"index":0,"delta":{"content":""},"finish_reason":"stop"}]}\n\n` +
      "data: [DONE]\n\n",
  );
});

Deno.test("an error before the first chunk is an ordinary answer with its status", async () => {
  const stream = () => Promise.reject(new BullionError("model_not_found", "no such model"));
  const response = await appOver({ chat: { stream } })
    .request("/v1/chat/completions", post(asked));
  assert.equal(response.status, 404);
  assert.equal((await errorOf(response)).code, "model_not_found");
});

Deno.test("an error in the middle is the last frame, and [DONE] does not follow", async () => {
  const app = streaming(async function* () {
    yield chunk("净");
    throw new BullionError("python_died", "The engine's process ended by SIGKILL");
  });
  const text = await (await app.request("/v1/chat/completions", post(asked))).text();
  assert.ok(text.endsWith(
    'data: {"error":{"message":"The engine\'s process ended by SIGKILL","type":"server_error",' +
      '"param":null,"code":"python_died"}}\n\n',
  ));
  assert.doesNotMatch(text, /DONE/);
});

Deno.test("a client that leaves a stream aborts its signal at once", async () => {
  const aborted = Promise.withResolvers<void>();
  async function* forever(signal: AbortSignal) {
    signal.addEventListener("abort", () => aborted.resolve());
    yield chunk("净");
    await aborted.promise;
  }
  const stream = (_: unknown, signal: AbortSignal) => Promise.resolve(forever(signal));
  const app = appOver({ chat: { stream } });
  const response = await app.request("/v1/chat/completions", post(asked));
  const reader = response.body!.getReader();
  await reader.read();
  await reader.cancel();
  await aborted.promise;
});

for (const kind of ["complete", "stream"] as const) {
  Deno.test(`a client that leaves before its answer begins aborts the signal of ${kind}`, async () => {
    const client = new AbortController();
    const aborted = Promise.withResolvers<void>();
    const waits = (_: unknown, signal: AbortSignal) => {
      signal.addEventListener("abort", () => aborted.resolve());
      return new Promise<never>((_, reject) => {
        signal.addEventListener("abort", () => reject(new BullionError("cancelled", "left")));
      });
    };
    const request = new Request("http://service/v1/chat/completions", {
      ...post({ ...asked, stream: kind === "stream" }),
      signal: client.signal,
    });
    const answer = appOver({ chat: { [kind]: waits } }).request(request);
    await new Promise((resolve) => setTimeout(resolve, 5));
    client.abort();
    await aborted.promise;
    await answer;
  });
}

const jobs = (seen: number[] = []) => ({
  getTrain: () => ({}) as never,
  async *tail(_id: string, after: number) {
    seen.push(after);
    for (const sequence of [1, 2, 3]) if (sequence > after) yield event(sequence);
  },
});

Deno.test("a job's events carry their number as id and their kind as event name", async () => {
  const app = appOver({ jobs: jobs() });
  const response = await app.request("/v1/fine_tuning/jobs/ftjob-1/events?stream=true", {
    headers: { "Last-Event-ID": "2" },
  });
  assert.equal(
    await response.text(),
    'event: paused\ndata: {"id":"ftevent-3","object":"fine_tuning.job.event","created_at":7,' +
      '"level":"info","message":"Job paused","type":"message","data":{"type":"paused"},' +
      '"sequence":3}\nid: 3\n\n' +
      "event: end\ndata: [DONE]\n\n",
  );
});

Deno.test("Last-Event-ID is where a stream goes on; without it a stream begins at the start", async () => {
  const seen: number[] = [];
  const app = appOver({ jobs: jobs(seen) });
  const path = "/v1/fine_tuning/jobs/ftjob-1/events?stream=true";
  await (await app.request(path)).text();
  await (await app.request(path, { headers: { "Last-Event-ID": "3" } })).text();
  assert.deepEqual(seen, [0, 3]);
});

Deno.test("a Last-Event-ID that is no number is refused", async () => {
  const path = "/v1/fine_tuning/jobs/ftjob-1/events?stream=true";
  const response = await appOver({ jobs: jobs() })
    .request(path, { headers: { "Last-Event-ID": "abc" } });
  assert.equal(response.status, 400);
  const { param, message } = await errorOf(response);
  assert.equal(param, "Last-Event-ID");
  assert.match(String(message), /abc/);
});

Deno.test("an EventSource, which asks by its Accept header, gets the stream", async () => {
  const response = await appOver({ jobs: jobs() }).request("/v1/fine_tuning/jobs/ftjob-1/events", {
    headers: { Accept: "text/event-stream" },
  });
  assert.equal(response.headers.get("content-type"), "text/event-stream");
  await response.body!.cancel();
});

Deno.test("a stream of job events that fails ends with a frame named error", async () => {
  async function* tail() {
    yield event(1);
    throw new BullionError("internal_error", "the store is gone");
  }
  const path = "/v1/fine_tuning/jobs/ftjob-1/events?stream=true";
  const text = await (await appOver({ jobs: { ...jobs(), tail } }).request(path)).text();
  assert.match(text, /event: error\ndata: \{"error":\{"message":"the store is gone".*\n\n$/);
});
