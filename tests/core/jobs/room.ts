/** A service over fake doors in a folder of its own, and the smallest requests for it. */
import { join } from "node:path";
import { openService, type Service, type ServiceSettings } from "../../../core/service.ts";
import type { FineTuningJob } from "../../../contract/job.ts";
import { FakeEngine, FakeTrainer } from "../doors.ts";
import { streamOf, temporaryFolder } from "../folder.ts";

export const rest = { kind: "rest" } as const;
export const never = new AbortController().signal;

export const RECORDS = JSON.stringify([{ instruction: "问", input: "", output: "答" }]);

export function trainYaml(lines: Record<string, unknown> = {}): string {
  const keys = {
    model_name_or_path: "base",
    do_train: true,
    finetuning_type: "lora",
    template: "llama3",
    dataset: "pairs",
    output_dir: "saves/one",
    ...lines,
  };
  return Object.entries(keys).map(([key, value]) => `${key}: ${value}\n`).join("");
}

/** Settings of a service whose data, work and aliases lie in `home`. */
export function settingsIn(
  home: string,
  gpu: "auto" | "exclusive" | "shared" = "auto",
): ServiceSettings {
  return {
    data_dir: join(home, "data"),
    models_file: join(home, "work", "models.yaml"),
    hub: "huggingface",
    trust_remote_code: false,
    limits: { max_upload_bytes: 1_000_000, max_records: 1_000, max_pdf_pages: 500 },
    jobs: { gpu },
    engine: { max_models: 2, idle_seconds: null, max_running: 8, max_waiting: 4 },
  };
}

/** A data folder with a base model and a data set; services can be opened over it one by one. */
export class Bench implements AsyncDisposable {
  readonly #folder = temporaryFolder();
  readonly home = this.#folder.path;
  readonly data = join(this.home, "data");
  readonly cwd = join(this.home, "work");
  trainer = new FakeTrainer();
  engine = new FakeEngine();
  service!: Service;

  static async open(gpu: "auto" | "exclusive" | "shared" = "auto"): Promise<Bench> {
    const bench = new Bench();
    Deno.mkdirSync(join(bench.cwd, "base"), { recursive: true });
    Deno.writeTextFileSync(join(bench.cwd, "base", "config.json"), "{}");
    Deno.writeTextFileSync(join(bench.cwd, "models.yaml"), "base: {path: ./base}\n");
    await bench.start(gpu);
    await bench.service.datasets.put("pairs", streamOf(RECORDS));
    return bench;
  }

  /** Opens the service again, with fresh doors, as after a restart. */
  async start(gpu: "auto" | "exclusive" | "shared" = "auto"): Promise<void> {
    this.trainer = new FakeTrainer();
    this.engine = new FakeEngine();
    const doors = { trainer: this.trainer, engine: this.engine };
    this.service = await openService(settingsIn(this.home, gpu), doors);
  }

  train(lines: Record<string, unknown> = {}): Promise<FineTuningJob> {
    return this.service.jobs.createTrain({ kind: "yaml", text: trainYaml(lines), origin: rest });
  }

  /** Waits until a job has the status; fails a test that would wait for ever. */
  async until(id: string, status: FineTuningJob["status"]): Promise<FineTuningJob> {
    const end = Date.now() + 5_000;
    while (Date.now() < end) {
      const job = this.service.jobs.getTrain(id);
      if (job.status === status) return job;
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    throw new Error(`job is ${this.service.jobs.getTrain(id).status}, never ${status}`);
  }

  async messages(id: string): Promise<string[]> {
    const leaving = new AbortController();
    setTimeout(() => leaving.abort(), 20);
    const events = await Array.fromAsync(this.service.jobs.tail(id, 0, leaving.signal));
    return events.map(({ message }) => message);
  }

  /** The folder as a killed service leaves it: copied while it runs, so nothing was closed. */
  async crash(gpu: "auto" | "exclusive" | "shared" = "auto"): Promise<void> {
    const copy = this.data + ".copy";
    await new Deno.Command("cp", { args: ["-a", this.data, copy] }).output();
    await this.service.close();
    await Deno.remove(this.data, { recursive: true });
    await Deno.rename(copy, this.data);
    await this.start(gpu);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.service.close();
    this.#folder[Symbol.dispose]();
  }
}
