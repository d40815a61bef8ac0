/**
 * The engine's door: one process that serves, started on demand and started again after a death.
 *
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
import type { ProcessSettings } from "./process.ts";

/** A process that dies younger than this counts as failing to start; so many in a row end trying. */
const QUICK_DEATH_MS = 15_000;
const MOST_QUICK_DEATHS = 3;

/**
 * Weights on large pages, where the system offers them to who asks: on a processor a step of a small base
 * reads them all, and spent an eighth of its time on looking pages up. Not for trainers, whose memory comes
 * and goes.
 */
export const ENGINE_ENV = { GLIBC_TUNABLES: "glibc.malloc.hugetlb=1" };

type EngineOpening = Extract<Opening, { role: "engine" }>;

export class Engine implements EngineDoor {
  readonly #settings: ProcessSettings;
  readonly #opening: EngineOpening;
  readonly #loaded = new Map<string, ServedModel>();
  #starting: Promise<WorkerClient> | null = null;
  #client: WorkerClient | null = null;
  #failure: BullionError | null = null;
  #restarts = 0;
  #quickDeaths = 0;

  constructor(settings: ProcessSettings, opening: EngineOpening) {
    this.#settings = { ...settings, env: { ...ENGINE_ENV, ...settings.env } };
    this.#opening = opening;
  }

  async load(model: ServedModel): Promise<Record<string, unknown>> {
    const result = await this.#ask({ type: "load", id: newId("request"), model });
    this.#loaded.set(model.name, model);
    return result;
  }

  async unload(name: string): Promise<void> {
    this.#loaded.delete(name);
    if (this.#client === null) return;
    const submission: Submission = { type: "unload", id: newId("request"), model: name };
    await resultOf(submission, await submit(this.#client, submission));
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
      const engine = await client.status().catch(() => null);
      return { state: "ready", restarts, engine };
    }
    const state = this.#starting ? "starting" : this.#failure ? "failed" : "stopped";
    return { state, restarts, engine: null };
  }

  async stop(reason: BullionError): Promise<void> {
    this.#loaded.clear();
    const client = this.#client ?? await this.#starting?.catch(() => null);
    client?.kill(reason);
    await client?.ended;
    this.#client = null;
    this.#starting = null;
  }

  /** The live client, starting a process when there is none. One start serves all who wait. */
  #running(): Promise<WorkerClient> {
    if (this.#client && !this.#client.isOver) return Promise.resolve(this.#client);
    this.#starting ??= this.#start().finally(() => this.#starting = null);
    return this.#starting;
  }

  async #start(): Promise<WorkerClient> {
    try {
      const client = await WorkerClient.open(this.#opening, this.#settings);
      await client.ready();
      for (const model of this.#loaded.values()) {
        const submission: Submission = { type: "load", id: newId("request"), model };
        await resultOf(submission, await submit(client, submission));
      }
      const born = performance.now();
      client.ended.then((error) => this.#afterDeath(client, error, performance.now() - born));
      this.#client = client;
      this.#failure = null;
      return client;
    } catch (error) {
      this.#failure = error as BullionError;
      throw error;
    }
  }

  /** A death that nobody asked for: begin again at once, so that the next request finds it up. */
  #afterDeath(client: WorkerClient, error: BullionError, livedMs: number): void {
    if (this.#client === client) this.#client = null;
    if (client.isKilled) return;
    this.#failure = error;
    this.#quickDeaths = livedMs < QUICK_DEATH_MS ? this.#quickDeaths + 1 : 0;
    if (this.#quickDeaths > MOST_QUICK_DEATHS) {
      this.#settings.log(`engine: ${error.message}; it keeps dying and waits for the next request`);
      return;
    }
    this.#restarts += 1;
    this.#settings.log(`engine: ${error.message}; starting again`);
    this.#running().catch((failure) =>
      this.#settings.log(`engine: cannot start again: ${failure.message}`)
    );
  }

  async #ask(submission: Submission): Promise<Record<string, unknown>> {
    return await resultOf(submission, (await this.#submit(submission)).events);
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

/** What work without a stream came to. */
async function resultOf({ type }: Submission, events: Events): Promise<Record<string, unknown>> {
  for await (const event of events) {
    if (event.type === "finished") return event.result;
    if (event.type === "failed") throw BullionError.from(event.error);
    if (event.type === "stopped") break;
  }
  throw new BullionError("cancelled", `${type} was cancelled`);
}
