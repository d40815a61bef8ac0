/**
 * What the rest of Bullion may ask of Python: two doors, as types.
 *
 * core/ depends on these alone; bridge/trainer.ts and bridge/engine.ts implement them over a process,
 * tests implement them in a few lines. Every failure is a BullionError; nothing here ever hangs.
 */
import type { BullionError } from "../contract/errors.ts";
import type { EngineState } from "../contract/health.ts";
import type {
  Cancellation,
  GenerateSpec,
  ServedModel,
  Submission,
  Usage,
} from "../contract/worker.ts";
import type { Prompt, WorkerEvent } from "../contract/worker.ts";

export type TrainerWork = Extract<Submission, { type: "train" | "export" | "encode" | "probe" }>;

/** Work under way in a trainer process of its own. */
export interface RunningWork {
  /** Events in order. Ends after `finished`, `stopped` or `failed`; a dead process is a `failed`. */
  readonly events: AsyncIterable<WorkerEvent>;
  /** Asks the work to end between two steps; its `stopped` event tells when it has. */
  stop(how: Cancellation["how"]): Promise<void>;
  /** Ends the process now, whatever it does. Idempotent. */
  kill(): void;
}

export interface TrainerDoor {
  /** Starts a fresh interpreter for this one piece of work; its memory goes back when it ends. */
  start(work: TrainerWork): RunningWork;
  /** Ends whatever waits to be used; running work is not touched. */
  close(): void;
}

export type Delta = Extract<WorkerEvent, { type: "delta" }>;
export type Generated = Delta | { type: "done"; usage: Usage };

export interface EngineStatus {
  state: EngineState;
  /** Starts after a death that nobody asked for, or after a start that failed. */
  restarts: number;
  /** What the Python process says of itself; null while there is none, or it does not answer. */
  engine: Record<string, unknown> | null;
}

export interface EngineDoor {
  /** Starts the process if needed and makes `model` answer to its name. Resolves when it is ready. */
  load(model: ServedModel): Promise<Record<string, unknown>>;
  unload(name: string): Promise<void>;
  /** Streams until `done`. Aborting the signal cancels in Python. Throws BullionError on failure. */
  generate(spec: GenerateSpec, signal: AbortSignal): AsyncIterable<Generated>;
  tokenize(model: string, prompt: Prompt, addSpecialTokens: boolean): Promise<number[]>;
  detokenize(model: string, ids: number[]): Promise<string>;
  status(): Promise<EngineStatus>;
  /**
   * Ends the process and gives its memory back; the next load starts a new one. What was under way
   * fails with `reason`.
   */
  stop(reason: BullionError): Promise<void>;
}
