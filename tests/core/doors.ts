/** Both doors to Python in a few lines: a trainer that a test drives by hand, an engine that echoes. */
import type {
  EngineDoor,
  EngineStatus,
  Generated,
  RunningWork,
  TrainerDoor,
  TrainerWork,
} from "../../bridge/doors.ts";
import type { BullionError } from "../../contract/errors.ts";
import type { GenerateSpec, ServedModel, WorkerEvent } from "../../contract/worker.ts";

type Unnamed = WorkerEvent extends infer E ? E extends { id: string } ? Omit<E, "id"> : never
  : never;

/** One process. The test says its events; `stop` and `kill` are remembered, and obeyed if told to. */
export class FakeWork implements RunningWork {
  readonly stops: string[] = [];
  readonly said: string[] = []; // types of the events
  killed = false;
  /** Whether a stop is answered by `stopped` at once. */
  obeys = true;
  readonly #queue: WorkerEvent[] = [];
  #wake = Promise.withResolvers<void>();
  #over = false;
  readonly events: AsyncIterable<WorkerEvent>;

  constructor(readonly work: TrainerWork) {
    this.events = this.#read();
  }

  say(event: Unnamed): void {
    this.said.push(event.type);
    this.#queue.push({ ...event, id: this.work.id } as WorkerEvent);
    this.#wake.resolve();
  }

  step(step: number): void {
    this.say({
      type: "progress",
      step,
      total_steps: 10,
      epoch: step / 10,
      loss: 1 / step,
      learning_rate: 1e-4,
      grad_norm: 1,
      tokens: 100 * step,
      tokens_per_second: 50,
      seconds: step,
      seconds_left: 10 - step,
    });
  }

  /** Writes the folder as the trainer would, then tells of it; not `whole`: the model alone. */
  checkpoint(step: number, whole = true): void {
    if (this.work.type !== "train") throw new Error("only a training has checkpoints");
    const path = `${this.work.spec.output_dir}/checkpoint-${step}`;
    Deno.mkdirSync(path, { recursive: true });
    Deno.writeTextFileSync(`${path}/adapter_config.json`, "{}");
    Deno.writeTextFileSync(`${path}/trainer_state.json`, "{}");
    if (whole) Deno.writeTextFileSync(`${path}/optimizer.pt`, "");
    this.say({ type: "checkpoint", step, epoch: step / 10, path, metrics: { loss: 1 } });
  }

  finish(): void {
    const [folder, file] = this.work.type === "train"
      ? [this.work.spec.output_dir, "adapter_config.json"]
      : this.work.type === "export"
      ? [this.work.spec.export_dir, "config.json"]
      : ["", ""];
    Deno.mkdirSync(folder, { recursive: true });
    Deno.writeTextFileSync(`${folder}/${file}`, "{}");
    this.say({ type: "finished", result: { train_loss: 0.5, tokens: 1000, trained_tokens: 400 } });
  }

  fail(code: string): void {
    this.say({ type: "failed", error: { code, message: "It went wrong", param: null } });
  }

  // deno-lint-ignore require-await -- the door's shape
  async stop(how: "cancel" | "pause"): Promise<void> {
    this.stops.push(how);
    if (this.obeys) this.say({ type: "stopped", how });
  }

  kill(): void {
    if (this.killed) return;
    this.killed = true;
    const error = { code: "python_died", message: "The process was killed", param: null };
    this.say({ type: "failed", error });
  }

  async *#read(): AsyncGenerator<WorkerEvent> {
    while (!this.#over) {
      for (let event = this.#queue.shift(); event; event = this.#queue.shift()) {
        this.#over ||= ["finished", "stopped", "failed"].includes(event.type);
        yield event;
      }
      if (this.#over) return;
      await this.#wake.promise;
      this.#wake = Promise.withResolvers();
    }
  }
}

/** Hands the test each process that was started, in order. */
export class FakeTrainer implements TrainerDoor {
  close(): void {}

  readonly started: FakeWork[] = [];
  device = "cpu";
  readonly #waiting: ((work: FakeWork) => void)[] = [];
  #taken = 0;

  start(work: TrainerWork): RunningWork {
    const process = new FakeWork(work);
    process.say({ type: "ready", machine: { device: this.device } });
    this.started.push(process);
    this.#waiting.shift()?.(process);
    return process;
  }

  /** The next process, once it is started. */
  async next(): Promise<FakeWork> {
    const number = this.#taken++;
    return this.started[number] ??
      await new Promise((resolve) => this.#waiting.push(resolve));
  }
}

/** Answers with the prompt's words, one a delta, and remembers what was loaded. */
export class FakeEngine implements EngineDoor {
  readonly calls: string[] = [];
  readonly specs: GenerateSpec[] = [];
  readonly cancelled: string[] = [];
  #choices = 0;
  /** The most choices that were under way at the same time. */
  mostChoices = 0;
  /** What the engine says it is on; null: it does not run. */
  device: string | null = "cpu";
  state: EngineStatus["state"] = "ready";
  /** The words in which its models call functions; null: they do not. */
  toolFormat: "llama3" | "hermes" | null = null;
  /** Words of every answer. */
  words = ["净", "利润"];
  /** Why every answer ends. */
  finish: "stop" | "length" = "stop";
  /** The code of the error that ended what was under way. */
  stopReason: string | null = null;
  /** Called before each delta: a place for a test to wait or to throw. */
  before: () => void | Promise<void> = () => {};
  /** Called before a model is there. */
  loading: () => void | Promise<void> = () => {};

  async load(model: ServedModel): Promise<Record<string, unknown>> {
    this.calls.push(`load ${model.name}`);
    await this.loading();
    return { context: 2048, vocab_size: 4096, tokenizer: { tool_format: this.toolFormat } };
  }

  // deno-lint-ignore require-await -- the door's shape
  async unload(name: string): Promise<void> {
    this.calls.push(`unload ${name}`);
  }

  async *generate(spec: GenerateSpec, signal: AbortSignal): AsyncGenerator<Generated> {
    this.specs.push(spec);
    this.#choices += spec.n;
    this.mostChoices = Math.max(this.mostChoices, this.#choices);
    try {
      for (let index = 0; index < spec.n; index++) {
        for (const [at, text] of this.words.entries()) {
          await this.before();
          if (signal.aborted) return;
          const finish_reason = at === this.words.length - 1 ? this.finish : null;
          const tokens = spec.logprobs === null ? null : [{
            id: at,
            text,
            bytes: [...new TextEncoder().encode(text)],
            logprob: spec.echo && at === 0 ? null : -0.5,
            top: [{ id: at, text, bytes: [], logprob: -0.5 }],
            offset: [...this.words.slice(0, at).join("")].length,
          }];
          if (finish_reason !== null) this.#choices--;
          yield { type: "delta", id: "r", index, text, tokens, count: 1, finish_reason };
        }
      }
      const usage = { prompt_tokens: 3, completion_tokens: this.words.length, cached_tokens: 1 };
      yield { type: "done", usage };
    } finally {
      if (signal.aborted) this.cancelled.push(spec.model);
    }
  }

  // deno-lint-ignore require-await -- the door's shape
  async tokenize(): Promise<number[]> {
    return [1, 2, 3];
  }

  // deno-lint-ignore require-await -- the door's shape
  async detokenize(): Promise<string> {
    return "text";
  }

  // deno-lint-ignore require-await -- the door's shape
  async status(): Promise<EngineStatus> {
    const engine = this.device === null ? null : { device: this.device };
    return { state: this.state, restarts: 0, engine };
  }

  // deno-lint-ignore require-await -- the door's shape
  async stop(reason: BullionError): Promise<void> {
    this.calls.push("stop");
    this.stopReason = reason.code;
  }
}
