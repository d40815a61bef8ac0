/**
 * Chat and text completions: a model's name and a request in, an answer or a stream of it out.
 *
 * Resolves the name, leases the model, lets the engine generate. How requests are read is in
 * requests.ts, how answers look in answers.ts and chunks.ts.
 */
import type { EngineDoor } from "../../bridge/doors.ts";
import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatRequest,
  Completion,
  CompletionRequest,
  DetokenizeRequest,
  TokenizeRequest,
  TokenizerInfo,
} from "../../contract/chat.ts";
import { BullionError } from "../../contract/errors.ts";
import { newId } from "../../contract/ids.ts";
import type { GenerateSpec } from "../../contract/worker.ts";
import type { ResolvedModel } from "../../contract/model.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { Origin, Resolver } from "../models/resolve.ts";
import type { Chat, Stream } from "../rooms.ts";
import {
  chatCompletion,
  type Choice,
  collect,
  completion,
  type Header,
  textChunk,
  usageOf,
} from "./answers.ts";
import type { CallReading } from "./calls.ts";
import { ChoiceStream } from "./chunks.ts";
import { Generation, type Places } from "./generation.ts";
import { chatSpec, checkChoices, choicesOf, textSpecs } from "./requests.ts";
import type { Lease, Residents } from "./residents.ts";
import { callReading } from "./tools.ts";

/** How often a request loads its model anew when it is gone at the moment of asking. */
const MOST_LOADS = 3;

export interface ChatParts {
  engine: EngineDoor;
  residents: Residents;
  resolver: Resolver;
  trustRemoteCode: boolean;
  /**
   * Whether a question may fetch the model from a hub: one that a job has worked with, or one of the
   * file of names. A mistyped name must not start a download of gigabytes.
   */
  mayFetch(name: string): boolean;
  metrics: Metrics;
  places: Places;
  /** The name of the one model there is; null where there are more or none. */
  onlyModel(): string | null;
}

export class ChatRoom implements Chat {
  readonly #parts: ChatParts;
  /** The model that was asked for last: what a tokenizer request without a model means. */
  #latest: string | null = null;
  /** Models that were opened by names of another origin than REST. */
  readonly #opened = new Map<string, ResolvedModel>();

  constructor(parts: ChatParts) {
    this.#parts = parts;
  }

  open(model: string, adapter: string | null, origin: Origin): string {
    const { resolver, trustRemoteCode } = this.#parts;
    const base = resolver.resolve(model, origin, { trustRemoteCode, param: "model_name_or_path" });
    const param = "adapter_name_or_path";
    const over = adapter === null ? base : resolver.resolve(adapter, origin, { param });
    const name = adapter === null ? model : `${model} + ${adapter}`;
    this.#opened.set(name, { ...base, name, adapter: over.adapter });
    return name;
  }

  async complete(request: ChatRequest, signal: AbortSignal): Promise<ChatCompletion> {
    const { generation, reading } = await this.#chat(request, signal);
    const choices = await this.#whole(generation, signal);
    return chatCompletion(header("chat", request.model), choices, generation.usage, reading);
  }

  async stream(
    request: ChatRequest,
    signal: AbortSignal,
  ): Promise<Stream<ChatCompletionChunk>> {
    const { generation, reading } = await this.#chat(request, signal);
    return chatChunks(generation, request, reading);
  }

  async completeText(request: CompletionRequest, signal: AbortSignal): Promise<Completion> {
    const generation = await this.#texts(request, signal);
    const choices = await this.#whole(generation, signal);
    return completion(header("completion", request.model), choices, generation.usage);
  }

  async streamText(request: CompletionRequest, signal: AbortSignal): Promise<Stream<Completion>> {
    const generation = await this.#texts(request, signal);
    return textChunks(generation, request);
  }

  async tokenize(request: TokenizeRequest): Promise<{ tokens: number[] }> {
    const { engine } = this.#parts;
    const prompt = { kind: "text", text: request.prompt } as const;
    const special = request.add_special_tokens ?? true;
    return await this.#withModel(this.#modelOr(request.model), never(), async (lease) => {
      using _ = lease;
      return { tokens: await engine.tokenize(lease.name, prompt, special) };
    });
  }

  async detokenize(request: DetokenizeRequest): Promise<{ prompt: string }> {
    const { engine } = this.#parts;
    return await this.#withModel(this.#modelOr(request.model), never(), async (lease) => {
      using _ = lease;
      checkIds(request.tokens, lease);
      return { prompt: await engine.detokenize(lease.name, request.tokens) };
    });
  }

  async tokenizerInfo(model: string | undefined): Promise<TokenizerInfo> {
    using lease = await this.#lease(this.#modelOr(model), never());
    return infoOf(lease)!;
  }

  /** A chat's generation, and how calls of functions are read from its texts. */
  async #chat(
    request: ChatRequest,
    signal: AbortSignal,
  ): Promise<{ generation: Generation; reading: CallReading | null }> {
    return await this.#begun(request, signal, async (lease, begin) => {
      const reading = callReading(request, infoOf(lease)?.tool_format ?? null);
      return { generation: await begin([chatSpec(request, lease.name)]), reading };
    });
  }

  async #texts(request: CompletionRequest, signal: AbortSignal): Promise<Generation> {
    return await this.#begun(
      request,
      signal,
      (lease, begin) => begin(textSpecs(request, lease.name)),
    );
  }

  /** What `use` makes of the request's model, and of a function that begins its generation. */
  async #begun<T>(
    request: ChatRequest | CompletionRequest,
    signal: AbortSignal,
    use: (lease: Lease, begin: (specs: GenerateSpec[]) => Promise<Generation>) => Promise<T>,
  ): Promise<T> {
    const { engine, places, metrics } = this.#parts;
    checkChoices(request, places);
    const meter = metrics.generation(choicesOf(request));
    try {
      return await this.#withModel(request.model, signal, async (lease) => {
        meter.modelReady();
        const parts = { engine, places, lease, meter };
        return await use(lease, (specs) => Generation.begin(parts, specs, signal));
      });
    } catch (error) {
      meter.end();
      throw error;
    }
  }

  /** Does `use` with the model, which ends the lease unless it fails. */
  async #withModel<T>(
    model: string,
    signal: AbortSignal,
    use: (lease: Lease) => Promise<T>,
  ): Promise<T> {
    for (let attempt = 1;; attempt++) {
      const lease = await this.#lease(model, signal);
      try {
        return await use(lease);
      } catch (error) {
        lease[Symbol.dispose]();
        // The engine may have dropped a model that was idle when its memory ran out.
        const isGone = error instanceof BullionError && error.code === "model_not_loaded";
        if (!isGone || attempt === MOST_LOADS) throw error;
        this.#parts.residents.forget(lease.name);
      }
    }
  }

  async #lease(model: string, signal: AbortSignal): Promise<Lease> {
    const lease = await this.#parts.residents.acquire(this.#resolve(model), signal);
    this.#latest = model;
    return lease;
  }

  #resolve(model: string): ResolvedModel {
    const { resolver, trustRemoteCode, mayFetch } = this.#parts;
    return this.#opened.get(model) ??
      resolver.resolve(model, { kind: "rest" }, { trustRemoteCode, remote: mayFetch(model) });
  }

  #modelOr(given: string | undefined): string {
    const model = given ?? this.#latestIfThere() ?? this.#parts.onlyModel();
    if (model !== null) return model;
    throw new BullionError(
      "model_required",
      "Cannot tell which tokenizer is meant as there is more than one model and none was asked for " +
        'yet: name one in "model"',
      { param: "model" },
    );
  }

  /** The model that was asked for last, unless it has been deleted. */
  #latestIfThere(): string | null {
    if (this.#latest === null) return null;
    try {
      this.#resolve(this.#latest);
      return this.#latest;
    } catch (error) {
      if (error instanceof BullionError) return null;
      throw error;
    }
  }

  /** Every choice of an answer, by index. An answer that was cancelled is no answer. */
  async #whole(generation: Generation, signal: AbortSignal): Promise<Choice[]> {
    const choices = new Map<number, Choice>();
    for await (const delta of generation) collect(choices, delta);
    if (signal.aborted) throw new BullionError("cancelled", "The client left before the answer");
    return [...choices.values()].sort((a, b) => a.index - b.index);
  }
}

async function* chatChunks(
  generation: Generation,
  request: ChatRequest,
  reading: CallReading | null,
): AsyncGenerator<ChatCompletionChunk, void> {
  const shared = { ...header("chat", request.model), object: "chat.completion.chunk" } as const;
  const countsUsage = request.stream_options?.include_usage ?? false;
  const usage = countsUsage ? { usage: null } : {};
  const streams = new Map<number, ChoiceStream>();
  for await (const delta of generation) {
    const { index } = delta;
    const stream = streams.get(index) ?? new ChoiceStream(index, reading);
    streams.set(index, stream);
    for (const choice of stream.chunks(delta)) yield { ...shared, choices: [choice], ...usage };
  }
  if (countsUsage) yield { ...shared, choices: [], usage: usageOf(generation.usage) };
}

async function* textChunks(
  generation: Generation,
  request: CompletionRequest,
): AsyncGenerator<Completion, void> {
  const shared = header("completion", request.model);
  const countsUsage = request.stream_options?.include_usage ?? false;
  const usage = countsUsage ? { usage: null } : {};
  for await (const delta of generation) yield { ...textChunk(shared, delta), ...usage };
  if (!countsUsage) return;
  const object = "text_completion";
  yield { ...shared, object, choices: [], usage: usageOf(generation.usage) };
}

/** What the engine says of the model's tokenizer when it loads it. */
function infoOf({ facts }: Lease): TokenizerInfo | undefined {
  return facts.tokenizer as TokenizerInfo | undefined;
}

/** Throws `unknown_token_id`, which the engine says of a prompt's ids alone. */
function checkIds(ids: number[], { facts }: Lease): void {
  const most = facts.vocab_size as number - 1;
  const at = ids.findIndex((id) => id > most);
  if (at < 0) return;
  throw new BullionError(
    "unknown_token_id",
    `Cannot write token id ${ids[at]} as text: this model knows 0 to ${most}`,
    { param: `tokens[${at}]` },
  );
}

function never(): AbortSignal {
  return new AbortController().signal;
}

function header(kind: "chat" | "completion", model: string): Header {
  return { id: newId(kind), created: Math.floor(Date.now() / 1000), model };
}
