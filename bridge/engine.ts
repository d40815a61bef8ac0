/**
 * The engine's door: one process that serves, started on demand and kept up from then on.
 *
 * After a death it is started again by itself, after a failed start or a quick death with a pause that
 * grows, until it is up or its end is asked for; a request that comes in a pause starts it at once.
 * Requests under way in a process that dies fail with its cause; one whose submission meets the death
 * is submitted once more, to the next process, where the models that were loaded answer again. Owns no
 * rule of which models to keep.
 */
import { BullionError } from "../contract/errors.ts";
import type {
  GenerateSpec,
  Opening,
  Prompt,
  ServedModel,
  Submission,
  WorkerEvent,
} from "../contract/worker.ts";
import { newId } from "../contract/ids.ts";
import { Channel } from "./channel.ts";
import { isLast, WorkerClient } from "./client.ts";
import type { EngineDoor, EngineStatus, Generated } from "./doors.ts";
import type { LogLevel, ProcessSettings } from "./process.ts";
import { type Pauses, Retries } from "./retries.ts";

/** A process that dies younger than this counts as failing to start. */
const QUICK_DEATH_MS = 15_000;

const PAUSES: Pauses = { firstMs: 1_000, longestMs: 60_000 };

type EngineOpening = Extract<Opening, { role: "engine" }>;

export class Engine implements EngineDoor {
  readonly #settings: ProcessSettings;
  readonly #opening: EngineOpening;
  readonly #loaded = new Map<string, ServedModel>();
  readonly #retries: Retries;
  #starting: Promise<WorkerClient> | null = null;
  #client: WorkerClient | null = null;
  /** Aborts with the reason when its end is asked for; a later start has the next one. */
  #life = new AbortController();
  #isLost = false; // it died or did not start, and is not up again
  #restarts = 0;

  constructor(settings: ProcessSettings, opening: EngineOpening, pauses = PAUSES) {
    this.#settings = settings;
    this.#opening = opening;
    this.#retries = new Retries(pauses, this.#log.bind(this), () => this.#restart());
  }

  async load(model: ServedModel): Promise<Record<string, unknown>> {
    const result = await this.#ask({ type: "load", id: newId("request"), model });
    this.#loaded.set(model.name, model);
    this.#log(`loaded ${model.name}`, "info");
    return result;
  }

  async unload(name: string): Promise<void> {
    this.#loaded.delete(name);
    if (this.#client === null) return;
    const submission: Submission = { type: "unload", id: newId("request"), model: name };
    await resultOf(submission, await submit(this.#client, submission));
    this.#log(`unloaded ${name}`, "info");
  }

  async *generate(spec: GenerateSpec, signal: AbortSignal): AsyncGenerator<Generated> {
    signal.throwIfAborted();
    const id = newId("request");
    const { client, events } = await this.#submit({ type: "generate", id, spec });
    let over = false;
    const cancel = () => {
      if (!over) client.cancel({ id, how: "cancel" }).catch(() => {});
    };
    signal.addEventListener("abort", cancel, { once: true });
    if (signal.aborted) cancel();
    try {
      for await (const event of events) {
        if (isLast(event)) over = true;
        if (event.type === "failed") throw BullionError.from(event.error);
        if (event.type === "delta") yield event;
        if (event.type === "done") yield { type: "done", usage: event.usage };
      }
    } finally {
      signal.removeEventListener("abort", cancel);
      cancel();
    }
  }

  async tokenize(model: string, prompt: Prompt, addSpecialTokens: boolean): Promise<number[]> {
    const result = await this.#ask({
      type: "tokenize",
      id: newId("request"),
      model,
      prompt,
      add_special_tokens: addSpecialTokens,
    });
    return result.ids as number[];
  }

  async detokenize(model: string, ids: number[]): Promise<string> {
    const submission: Submission = { type: "detokenize", id: newId("request"), model, ids };
    const result = await this.#ask(submission);
    return result.text as string;
  }

  async status(): Promise<EngineStatus> {
    const restarts = this.#restarts;
    const client = this.#client;
    if (client && !client.isOver) {
      try {
        const engine = await client.status();
        return { state: engine ? "ready" : "silent", restarts, engine };
      } catch {
        // It answers, if not well, or it has just died.
        if (!client.isOver) return { state: "ready", restarts, engine: null };
      }
    }
    const state = this.#retries.failures > 0 ? "failed" : this.#starting ? "starting" : "stopped";
    return { state, restarts, engine: null };
  }

  async stop(reason: BullionError): Promise<void> {
    this.#loaded.clear();
    this.#life.abort(reason);
    this.#life = new AbortController();
    this.#retries.reset();
    this.#isLost = false;
    const client = this.#client ?? await this.#starting?.catch(() => null);
    await client?.ended;
    this.#client = null;
  }

  /** The live client, starting a process when there is none. One start serves all who wait. */
  #running(): Promise<WorkerClient> {
    if (this.#client && !this.#client.isOver) return Promise.resolve(this.#client);
    this.#starting ??= this.#start(this.#life.signal).finally(() => this.#starting = null);
    return this.#starting;
  }

  async #start(life: AbortSignal): Promise<WorkerClient> {
    if (this.#isLost) this.#restarts += 1;
    let client: WorkerClient | null = null;
    try {
      client = await this.#open(life);
      await client.ready();
      await this.#loadAgain(client);
      life.throwIfAborted();
      this.#isUp(client, life);
      return client;
    } catch (error) {
      client?.kill();
      if (life.aborted) {
        await client?.ended;
        throw life.reason;
      }
      this.#isLost = true;
      this.#retries.later(`cannot start: ${(error as Error).message}`);
      throw error;
    }
  }

  /** A process of this life, which ends with it. */
  async #open(life: AbortSignal): Promise<WorkerClient> {
    const client = await WorkerClient.open(this.#opening, this.#settings);
    const end = () => client.kill(life.reason);
    life.addEventListener("abort", end, { once: true });
    client.ended.then(() => life.removeEventListener("abort", end));
    if (life.aborted) end();
    return client;
  }

  /** What the last process held. A model that is refused is none's any more: who wants it loads it. */
  async #loadAgain(client: WorkerClient): Promise<void> {
    for (const model of this.#loaded.values()) {
      const submission: Submission = { type: "load", id: newId("request"), model };
      try {
        await resultOf(submission, await submit(client, submission));
      } catch (error) {
        const { code, message } = error as BullionError;
        if (client.isOver || code === "python_timeout") throw error;
        this.#log(`goes on without ${model.name}: ${message}`, "warn");
        this.#loaded.delete(model.name);
      }
    }
  }

  #isUp(client: WorkerClient, life: AbortSignal): void {
    const born = performance.now();
    client.watch();
    client.ended.then((error) => {
      if (this.#client === client) this.#client = null;
      if (!life.aborted) this.#afterDeath(error, performance.now() - born);
    });
    if (this.#isLost) this.#log("up again", "info");
    this.#client = client;
    this.#isLost = false;
    this.#retries.endPause();
  }

  /** A death that nobody asked for: begin again, so that the next request finds it up. */
  #afterDeath(error: BullionError, livedMs: number): void {
    this.#isLost = true;
    if (livedMs < QUICK_DEATH_MS) return this.#retries.later(error.message);
    this.#retries.reset();
    this.#log(`${error.message}; starting again`, "warn");
    this.#restart();
  }

  #restart(): void {
    this.#running().catch(() => {}); // the log has why, and a later try is waited for
  }

  #log(line: string, level: LogLevel): void {
    this.#settings.log(`engine: ${line}`, level);
  }

  async #ask(submission: Submission): Promise<Record<string, unknown>> {
    const { events } = await this.#submit(submission);
    return await resultOf(submission, events, (text) => this.#log(text, "info"));
  }

  /** Submits to the live process. Nothing has come yet of what met a dead one: it may go to the next. */
  async #submit(submission: Submission): Promise<{ client: WorkerClient; events: Events }> {
    const client = await this.#running();
    try {
      return { client, events: await submit(client, submission) };
    } catch (error) {
      const isDeath = error instanceof BullionError && error.code === "python_died";
      if (!isDeath || client.isKilled) throw error;
      await client.ended;
      const next = await this.#running();
      return { client: next, events: await submit(next, submission) };
    }
  }
}

type Events = Channel<WorkerEvent>;

/** The events of accepted work. Every submission has a channel of its own, as a death fills it. */
async function submit(client: WorkerClient, submission: Submission): Promise<Events> {
  const events: Events = new Channel();
  await client.submit(submission, (event) => {
    events.push(event);
    if (isLast(event)) events.close();
  });
  return events;
}

/** What work without a stream came to; `say` gets what it tells on the way. */
async function resultOf(
  { type }: Submission,
  events: Events,
  say: (text: string) => void = () => {},
): Promise<Record<string, unknown>> {
  for await (const event of events) {
    if (event.type === "message") say(event.text);
    if (event.type === "finished") return event.result;
    if (event.type === "failed") throw BullionError.from(event.error);
    if (event.type === "stopped") break;
  }
  throw new BullionError("cancelled", `${type} was cancelled`);
}
