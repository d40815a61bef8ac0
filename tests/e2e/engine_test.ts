/** The engine's process dies: streams end with a word, the service stays, the next request is served. */
import assert from "node:assert/strict";
import { RunningService, until } from "./service.ts";

const STREAMS = 8;
const PATIENCE_MS = 60_000; // a stream that takes longer hangs

const service = await RunningService.start();
const messages = [{ role: "user", content: "什么是净利润？" }];
const endless = { model: "bullion-tiny", messages, max_tokens: 1_500, ignore_eos: true };
const kill = () => service.pythons().forEach((pid) => Deno.kill(pid, "SIGKILL"));

const begun = performance.now();
await service.answer("bullion-tiny", "问");
const coldMs = performance.now() - begun; // the engine's start, the model's load, an answer

/** What a stream sends, whole; `begun` is called when its first text is there. */
async function streamed(begun: () => void): Promise<string> {
  const request = { ...endless, stream: true };
  const response = await service.send(
    "/v1/chat/completions",
    request,
    AbortSignal.timeout(PATIENCE_MS),
  );
  let text = "";
  for await (const part of response.body!.pipeThrough(new TextDecoderStream())) {
    if (text === "") begun();
    text += part;
  }
  return text;
}

Deno.test("streams whose engine is killed all end with an error event, and no [DONE]", async () => {
  let running = 0;
  const another = () => ++running === STREAMS && kill();
  using health = new Health();
  const texts = await Promise.all(Array.from({ length: STREAMS }, () => streamed(another)));
  for (const text of texts) {
    const frames = text.trimEnd().split("\n\n");
    assert.ok(frames.length > 2, "it was killed before it said anything");
    const { error } = JSON.parse(frames.at(-1)!.replace(/^data: /, ""));
    assert.deepEqual(Object.keys(error).sort(), ["code", "message", "param", "type"]);
    assert.deepEqual([error.code, error.type], ["python_died", "server_error"]);
    assert.match(error.message, /SIGKILL/);
    frames.slice(0, -1).forEach((frame) => assert.ok(JSON.parse(frame.slice(6)).choices, frame));
  }

  const asked = performance.now();
  const { choices } = await service.answer("bullion-tiny", "问");
  const waitedMs = performance.now() - asked;
  assert.equal(choices.length, 1);
  assert.ok(waitedMs < 2 * coldMs + 1_000, `${waitedMs} ms, a cold start takes ${coldMs} ms`);
  type Ready = { ready: boolean; engine: { restarts: number } };
  const { ready, engine } = await service.get<Ready>("/readyz");
  assert.deepEqual([ready, engine.restarts], [true, 1]);
  assert.match(service.log(), /^\d{4}-\S+Z warn engine: .*SIGKILL/m);
  await health.wasWellAllTheTime(waitedMs);
});

/** Asks for health without a pause until it is asked how that went. */
class Health implements Disposable {
  readonly #answers: string[] = [];
  #slowestMs = 0;
  #over = false;
  readonly #asking = this.#ask();

  /** No answer may have taken what an engine's start takes, however slow the machine is just now. */
  async wasWellAllTheTime(startMs: number): Promise<void> {
    this.#over = true;
    await this.#asking;
    assert.ok(this.#answers.length > 10, `${this.#answers.length} answers`);
    assert.deepEqual([...new Set(this.#answers)], ['200 {"status":"ok"}']);
    assert.ok(this.#slowestMs < Math.max(2_000, startMs / 2), `${this.#slowestMs} ms`);
  }

  [Symbol.dispose](): void {
    this.#over = true;
  }

  async #ask(): Promise<void> {
    while (!this.#over) {
      const asked = performance.now();
      const answer = await fetch(`${service.url}/healthz`).catch(String);
      const text = typeof answer === "string" ? answer : `${answer.status} ${await answer.text()}`;
      this.#answers.push(text);
      this.#slowestMs = Math.max(this.#slowestMs, performance.now() - asked);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

Deno.test("a plain request whose engine is killed gets 503 and hears when to ask again", async () => {
  const asked = service.send("/v1/chat/completions", endless);
  await new Promise((resolve) => setTimeout(resolve, 300));
  kill();
  const response = await asked;
  assert.equal(response.status, 503);
  assert.ok(response.headers.has("retry-after"));
  assert.equal((await response.json()).error.code, "python_died");
});

Deno.test("a request right after a kill is answered by the next engine", async () => {
  await service.answer("bullion-tiny", "问");
  kill();
  const { choices } = await service.answer("bullion-tiny", "问");
  assert.equal(choices.length, 1);
});

Deno.test("answers of two clients at once are each whole", async () => {
  const ask = (content: string) => service.answer("bullion-tiny", content, { max_tokens: 32 });
  const alone = [(await ask("什么是净利润？")).choices, (await ask("公司住所在哪里？")).choices];
  const beside = await Promise.all([ask("什么是净利润？"), ask("公司住所在哪里？")]);
  assert.deepEqual(beside.map(({ choices }) => choices), alone);
});

Deno.test("a service that is ended says so to its streams and plain requests", async () => {
  const long = { ...endless, n: 128 }; // takes longer than a service waits for answers
  const streamed = await service.send("/v1/chat/completions", { ...long, stream: true });
  const plain = service.send("/v1/chat/completions", long);
  type Ready = { engine: { engine: { running: number; waiting: number } } };
  const isThere = async () => {
    const { running, waiting } = (await service.get<Ready>("/readyz")).engine.engine;
    return running + waiting === 2 * long.n;
  };
  await until(isThere, 20, "the requests do not arrive");
  const reader = streamed.body!.pipeThrough(new TextDecoderStream());
  let text = "";
  let ended: Promise<Deno.CommandStatus> | null = null;
  for await (const part of reader) {
    text += part;
    ended ??= service.end("SIGTERM");
  }
  const { error } = JSON.parse(text.trimEnd().split("\n\n").at(-1)!.replace(/^data: /, ""));
  assert.deepEqual([error.code, error.type], ["service_stopping", "server_error"]);
  const response = await plain;
  assert.deepEqual([response.status, (await response.json()).error], [503, error]);
  assert.ok(response.headers.has("retry-after"));
  assert.equal((await ended!).code, 0);
});
