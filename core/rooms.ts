/**
 * What commands and routes hold: every room behind one object, wired once by `openService`.
 *
 * Everything comes back in the words of contract/, as OpenAI's clients see it where OpenAI has the
 * thing. Refusals are BullionErrors; nothing here knows HTTP or a terminal.
 */
import type { EngineDoor, TrainerDoor } from "../bridge/doors.ts";
import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatRequest,
  Completion,
  CompletionRequest,
  DetokenizeRequest,
  TokenizeRequest,
  TokenizerInfo,
} from "../contract/chat.ts";
import type { Chunk } from "../contract/document.ts";
import type {
  DatasetObject,
  DocumentObject,
  FileDeleted,
  FileObject,
  FilePurpose,
  PairsObject,
} from "../contract/file.ts";
import type {
  CheckpointObject,
  CreateFineTuningJob,
  ExportJob,
  FineTuningJob,
  JobEventObject,
  JobQuery,
} from "../contract/job.ts";
import type { ModelDeleted, ModelObject, ResolvedModel } from "../contract/model.ts";
import type { Page, PageQuery } from "../contract/page.ts";
import type { ServerConfig } from "./config/server.ts";
import type { Health } from "./health.ts";
import type { Metrics } from "./metrics/metrics.ts";
import type { Origin } from "./models/resolve.ts";

export type { Health, Origin };

export type TrainRequest =
  | { kind: "yaml"; text: string; origin: Origin }
  | { kind: "openai"; body: CreateFineTuningJob };

export interface ExportRequest {
  text: string; // LLaMA-Factory's export YAML
  origin: Origin;
}

export interface PreviewRequest extends ExportRequest {
  record: number | null; // one record's index, or all
}

/** A record as it is trained; `spans` are runs of tokens that are all trained or all not. */
export interface EncodedRecord {
  index: number;
  input_ids: number[];
  labels: number[];
  spans: { trained: boolean; text: string }[];
}

/** A stream of an answer. By the time it exists the first event has arrived: errors came before. */
export type Stream<T> = AsyncIterable<T>;

export interface Files {
  /** Refuses with `file_too_large`, `file_empty`, `disk_full`; nothing is left behind then. */
  create(
    content: ReadableStream<Uint8Array>,
    filename: string,
    purpose: FilePurpose,
  ): Promise<FileObject>;
  list(query: PageQuery & { purpose?: string }): Page<FileObject>;
  get(id: string): FileObject; // file_not_found
  content(id: string): Promise<ReadableStream<Uint8Array>>;
  delete(id: string): Promise<FileDeleted>;
}

export interface Datasets {
  /** Stores and checks a data set; a fault names its line. The same name again replaces it. */
  put(name: string, content: ReadableStream<Uint8Array>): Promise<DatasetObject>;
  list(query: PageQuery): Page<DatasetObject>;
  get(name: string): DatasetObject; // dataset_not_found
  content(name: string): Promise<ReadableStream<Uint8Array>>;
  delete(name: string): Promise<{ id: string; object: "dataset"; deleted: true }>;
}

export interface Documents {
  create(content: ReadableStream<Uint8Array>, filename: string): Promise<DocumentObject>;
  list(query: PageQuery): Page<DocumentObject>;
  get(id: string): DocumentObject; // document_not_found
  chunks(id: string): Promise<Chunk[]>;
  /** Writes pairs and registers them as data set `dataset` and as a training file. */
  writePairs(id: string, options: { dataset?: string }): Promise<PairsObject>;
  delete(id: string): Promise<{ id: string; object: "document"; deleted: true }>;
}

export interface Jobs {
  /** Refuses what is wrong in the request itself; the data is read afterwards (validating_files). */
  createTrain(request: TrainRequest): Promise<FineTuningJob>;
  createExport(request: ExportRequest): Promise<ExportJob>;
  /** What a training recipe makes of its records; starts no job. */
  preview(request: PreviewRequest): AsyncIterable<EncodedRecord>;
  listTrain(query: JobQuery): Page<FineTuningJob>; // newest first
  listExports(query: PageQuery): Page<ExportJob>;
  getTrain(id: string): FineTuningJob; // job_not_found
  getExport(id: string): ExportJob;
  /** Newest first, as OpenAI lists them; `after` is an event id. */
  events(id: string, query: PageQuery): Page<JobEventObject>;
  /**
   * History after `afterSequence`, then live; ends with the job, or when the signal aborts. Throws
   * `service_stopping` when the service ends before the job.
   */
  tail(id: string, afterSequence: number, signal: AbortSignal): AsyncIterable<JobEventObject>;
  checkpoints(id: string, query: PageQuery): Page<CheckpointObject>;
  cancel(id: string): Promise<FineTuningJob | ExportJob>; // resolves when the job has ended
  pause(id: string): Promise<FineTuningJob>;
  resume(id: string): Promise<FineTuningJob>;
}

export interface Models {
  list(): Page<ModelObject>;
  get(id: string): ModelObject; // model_not_found
  delete(id: string): Promise<ModelDeleted>;
  resolve(name: string, origin: Origin): Promise<ResolvedModel>;
}

export interface Chat {
  /**
   * A model by the two names a recipe gives, the adapter perhaps null; returns the name by which
   * requests to this room then reach it. For callers whose names are not those of REST.
   */
  open(model: string, adapter: string | null, origin: Origin): string;
  complete(request: ChatRequest, signal: AbortSignal): Promise<ChatCompletion>;
  stream(request: ChatRequest, signal: AbortSignal): Promise<Stream<ChatCompletionChunk>>;
  completeText(request: CompletionRequest, signal: AbortSignal): Promise<Completion>;
  streamText(request: CompletionRequest, signal: AbortSignal): Promise<Stream<Completion>>;
  tokenize(request: TokenizeRequest): Promise<{ tokens: number[] }>;
  detokenize(request: DetokenizeRequest): Promise<{ prompt: string }>;
  tokenizerInfo(model: string | undefined): Promise<TokenizerInfo>;
}

export interface Service {
  readonly files: Files;
  readonly datasets: Datasets;
  readonly documents: Documents;
  readonly jobs: Jobs;
  readonly models: Models;
  readonly chat: Chat;
  readonly metrics: Metrics;
  /** Who knows it can read the data folder's own files: such a request is a command of this machine. */
  readonly folderKey: string;
  health(): Promise<Health>;
  /** Tells other processes where the holder of this data folder listens. */
  announce(address: string): void;
  /** Ends everything: a running job is asked to keep a checkpoint and goes on at the next start. */
  close(): Promise<void>;
}

/** The settings the domain needs; a whole ServerConfig is one. */
export type ServiceSettings =
  & Pick<
    ServerConfig,
    "data_dir" | "models_file" | "hub" | "trust_remote_code"
  >
  & {
    readonly limits: Pick<
      ServerConfig["limits"],
      "max_upload_bytes" | "max_records" | "max_pdf_pages"
    >;
    readonly jobs: Pick<ServerConfig["jobs"], "gpu">;
    readonly engine: Pick<
      ServerConfig["engine"],
      "max_models" | "idle_seconds" | "max_running" | "max_waiting"
    >;
  };

export interface Doors {
  trainer: TrainerDoor;
  engine: EngineDoor;
}
