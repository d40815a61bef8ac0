/**
 * A running service for end-to-end tests: the real process on a free port, in a process group of its
 * own, with a data folder that goes when the service does.
 *
 * One for each test file, as its Python processes take seconds to start. Its log is a file, so that no
 * pipe is open while tests run.
 */
import assert from "node:assert/strict";
import type { ExportJob, FineTuningJob, JobEventObject } from "../../contract/job.ts";
import { deno, environment, permissionsOf, processes, root } from "./project.ts";

export type Job = FineTuningJob | ExportJob;
type Refusal = { status: number; code: string; param: string | null; message: string };

const STARTED = /^\S+Z info Bullion listens on (\S+)/m;

export class RunningService {
  readonly folder: string;
  readonly #env: Record<string, string>;
  #child: Deno.ChildProcess | null = null;
  #group = 0; // of the process that was started last
  #url = "";
  #starts = 0;

  private constructor(folder: string, env: Record<string, string>) {
    this.folder = folder;
    this.#env = env;
  }

  /** A service over a new data folder; it ends with the test file. */
  static async start(
    env: Record<string, string> = {},
    folder = Deno.makeTempDirSync({ prefix: "bullion-e2e-" }),
  ): Promise<RunningService> {
    const service = new RunningService(folder, env);
    globalThis.addEventListener("unload", () => service.#remove());
    await service.again();
    return service;
  }

  /** Starts the process over the same data folder. */
  async again(): Promise<void> {
    const log = `${this.folder}.log${this.#starts++}`;
    const command = [deno, "run", ...permissionsOf("serve"), `${root}/main.ts`, "serve"];
    const options = ["--port", "0", "--data", this.folder];
    options.push("--models", `${root}/configs/models.tiny.yaml`);
    this.#child = new Deno.Command("sh", {
      args: ["-c", 'exec "$@" >"$LOG" 2>&1', "sh", ...command, ...options],
      env: { ...environment, ...this.#env, LOG: log },
      stdin: "null",
      detached: true,
    }).spawn();
    this.#group = this.#child.pid;
    await until(
      async () => {
        const text = await Deno.readTextFile(log).catch(() => "");
        this.#url = STARTED.exec(text)?.[1] ?? "";
        return this.#url !== "";
      },
      60,
      () => `the service does not start: ${this.log()}`,
    );
  }

  get url(): string {
    return this.#url;
  }

  get pid(): number {
    return this.#child!.pid;
  }

  /** What the service has written since its last start. */
  log(): string {
    return Deno.readTextFileSync(`${this.folder}.log${this.#starts - 1}`);
  }

  /** Sends the service alone a signal and waits for its end. */
  async end(signal: Deno.Signal): Promise<Deno.CommandStatus> {
    this.#child!.kill(signal);
    const status = await this.#child!.status;
    this.#child = null;
    return status;
  }

  /** Python processes of the last start that live; they share the service's process group. */
  pythons(): number[] {
    return processes()
      .filter(({ group, command }) => group === this.#group && command.includes("pythonia"))
      .map(({ pid }) => pid);
  }

  async get<T = Record<string, unknown>>(path: string): Promise<T> {
    return await ok(await fetch(this.url + path));
  }

  async post<T = Record<string, unknown>>(path: string, body: unknown): Promise<T> {
    return await ok(await this.send(path, body));
  }

  /** Text and bytes go as they are, text as YAML; anything else as JSON. */
  send(path: string, body: unknown, signal?: AbortSignal): Promise<Response> {
    const isText = typeof body === "string";
    const raw = isText || body instanceof Uint8Array;
    const type = isText
      ? "application/yaml"
      : raw
      ? "application/octet-stream"
      : "application/json";
    return fetch(this.url + path, {
      method: "POST",
      body: raw ? body as BodyInit : JSON.stringify(body),
      headers: { "Content-Type": type },
      signal,
    });
  }

  /** Sends what must be refused. */
  async refusal(path: string, body: unknown): Promise<Refusal> {
    const response = await this.send(path, body);
    const text = await response.text();
    assert.ok(!response.ok, `${path} was not refused: ${text}`);
    return { status: response.status, ...JSON.parse(text).error };
  }

  async upload(name: string, content: string | Uint8Array): Promise<void> {
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
    await this.post(`/v1/datasets?name=${name}`, bytes);
  }

  /** The job once it has ended, or is as `isSo` wants it. */
  async job<T extends Job = FineTuningJob>(
    id: string,
    isSo = (job: Job) => ["succeeded", "failed", "cancelled"].includes(job.status),
    seconds = 120,
  ): Promise<T> {
    const path = id.startsWith("export") ? "/v1/exports" : "/v1/fine_tuning/jobs";
    let job: Job | undefined;
    const late = () => `job ${id} is ${job?.status} after ${seconds} s: ${this.log()}`;
    await until(async () => isSo(job = await this.get<Job>(`${path}/${id}`)), seconds, late);
    return job as T;
  }

  async events(id: string): Promise<JobEventObject[]> {
    const path = id.startsWith("export") ? "/v1/exports" : "/v1/fine_tuning/jobs";
    const query = "limit=10000&order=asc";
    return (await this.get<{ data: JobEventObject[] }>(`${path}/${id}/events?${query}`)).data;
  }

  async answer(model: string, content: string, more: Record<string, unknown> = {}) {
    const messages = [{ role: "user", content }];
    const body = { model, messages, temperature: 0, max_tokens: 16, ...more };
    // deno-lint-ignore no-explicit-any -- whatever the service answers
    return await this.post<any>("/v1/chat/completions", body);
  }

  #remove(): void {
    try {
      Deno.kill(-this.#group, "SIGKILL");
    } catch { /* it has ended by itself */ }
    Deno.removeSync(this.folder, { recursive: true });
    for (let i = 0; i < this.#starts; i++) Deno.removeSync(`${this.folder}.log${i}`);
  }
}

async function ok<T>(response: Response): Promise<T> {
  const text = await response.text();
  assert.ok(response.ok, `${response.status}: ${text}`);
  return JSON.parse(text);
}

/** Waits until `isSo` holds; after `seconds` the test fails with `late`. */
export async function until(
  isSo: () => boolean | Promise<boolean>,
  seconds: number,
  late: string | (() => string),
): Promise<void> {
  const deadline = performance.now() + seconds * 1000;
  while (!await isSo()) {
    if (performance.now() > deadline) assert.fail(typeof late === "string" ? late : late());
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
