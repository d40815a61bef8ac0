/** The engine's process dies: streams end with a word, the service stays, the next request is served. */
import assert from "node:assert/strict";
import { RunningService } from "./service.ts";

const service = await RunningService.start();
const messages = [{ role: "user", content: "什么是净利润？" }];
const endless = { model: "bullion-tiny", messages, max_tokens: 1_500, ignore_eos: true };

Deno.test("a stream whose engine is killed ends with an error event, and no [DONE]", async () => {
  await service.answer("bullion-tiny", "问");
  const response = await service.send("/v1/chat/completions", { ...endless, stream: true });
  let text = "";
  for await (const part of response.body!.pipeThrough(new TextDecoderStream())) {
    if (text === "") service.pythons().forEach((pid) => Deno.kill(pid, "SIGKILL"));
    text += part;
  }
  const last = text.trimEnd().split("\n\n").at(-1)!;
  const { error } = JSON.parse(last.replace(/^data: /, ""));
  assert.deepEqual([error.code, error.type], ["python_died", "server_error"]);
  assert.match(error.message, /SIGKILL/);
});

Deno.test("meanwhile health answers at once, and the next chat works", async () => {
  const asked = performance.now();
  assert.deepEqual(await service.get("/healthz"), { status: "ok" });
  assert.ok(performance.now() - asked < 1_000);
  const { choices } = await service.answer("bullion-tiny", "问");
  assert.equal(choices.length, 1);
  type Ready = { ready: boolean; engine: { restarts: number } };
  const { ready, engine } = await service.get<Ready>("/readyz");
  assert.deepEqual([ready, engine.restarts], [true, 1]);
});

Deno.test("a plain request whose engine is killed gets 503 and hears when to ask again", async () => {
  const asked = service.send("/v1/chat/completions", endless);
  await new Promise((resolve) => setTimeout(resolve, 300));
  service.pythons().forEach((pid) => Deno.kill(pid, "SIGKILL"));
  const response = await asked;
  assert.equal(response.status, 503);
  assert.ok(response.headers.has("retry-after"));
  assert.equal((await response.json()).error.code, "python_died");
});

Deno.test("answers of two clients at once are each whole", async () => {
  const ask = (content: string) => service.answer("bullion-tiny", content, { max_tokens: 32 });
  const alone = [(await ask("什么是净利润？")).choices, (await ask("公司住所在哪里？")).choices];
  const beside = await Promise.all([ask("什么是净利润？"), ask("公司住所在哪里？")]);
  assert.deepEqual(beside.map(({ choices }) => choices), alone);
});
