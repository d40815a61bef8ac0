/**
 * Jobs from the command line: run by this process if the data folder is free, otherwise handed to
 * the service that holds it, over HTTP. What a command shows is the same either way.
 */
import { resolve } from "node:path";
import { BullionError, type ErrorDetail } from "../contract/errors.ts";
import type { ExportJob, FineTuningJob, JobEventObject } from "../contract/job.ts";
import type { ServerConfig } from "../core/config/server.ts";
import type { Service } from "../core/service.ts";
import { readHolder } from "../core/store/lock.ts";
import { originHeaders } from "../routes/access.ts";
import { openHere } from "./listening.ts";
import { follow, terminalScreen } from "./progress.ts";
import { onSignal } from "./signals.ts";

export type Kind = "train" | "export";
type Job = FineTuningJob | ExportJob;

interface Runner {
  /** What becomes of the job when the command is ended before it. */
  readonly ifLeft: string;
  create(kind: Kind, text: string, cwd: string): Promise<Job>;
  tail(kind: Kind, id: string): AsyncIterable<JobEventObject>;
  get(kind: Kind, id: string): Promise<Job>;
  close(): Promise<void>;
}

/** Creates the job that `file` describes, shows it until it has ended, and returns it. */
export async function runJob(
  kind: Kind,
  text: string,
  cwd: string,
  config: ServerConfig,
  python: string,
): Promise<Job> {
  const runner = await runnerFor(kind, config, python);
  const unlisten = onSignal(() => {
    console.error(`\nEnding: ${runner.ifLeft}`);
    runner.close().finally(() => Deno.exit(130));
  });
  try {
    const job = await runner.create(kind, text, cwd);
    await follow(runner.tail(kind, job.id), terminalScreen());
    const ended = await runner.get(kind, job.id);
    if (ended.status === "succeeded") return ended;
    throw ended.error
      ? BullionError.from(ended.error)
      : new BullionError(`job_${ended.status}`, `Job ${job.id} is ${ended.status}`);
  } finally {
    unlisten();
    await runner.close();
  }
}

/** Says that what lies at `name` is a link, where it is one, and how to keep what it leads to. */
export function sayWhereItLies(name: string | null, path: string, cwd: string): void {
  if (name === null || !isLink(resolve(cwd, name))) return;
  console.log(`${name} is a link to ${path}: copy it with cp -rL, deleting that folder deletes it`);
}

function isLink(path: string): boolean {
  try {
    return Deno.lstatSync(path).isSymlink;
  } catch {
    return false; // it could not be published, which an event has said
  }
}

async function runnerFor(kind: Kind, config: ServerConfig, python: string): Promise<Runner> {
  try {
    return here(await openHere(config, python, kind));
  } catch (error) {
    if (!(error instanceof BullionError) || error.code !== "data_folder_in_use") throw error;
    const address = error.param;
    if (address === null || !address.startsWith("http")) throw error;
    console.error(`The data folder is held by the service on ${address}: the job goes there`);
    return there(address, readHolder(config.data_dir)?.key ?? null);
  }
}

function here(service: Service): Runner {
  const leaving = new AbortController();
  return {
    ifLeft: "the job keeps a checkpoint; the same command goes on from it",
    create: (kind, text, cwd) => {
      const origin = { kind: "command_line" as const, cwd };
      return kind === "train"
        ? service.jobs.createTrain({ kind: "yaml", text, origin })
        : service.jobs.createExport({ text, origin });
    },
    tail: (_kind, id) => service.jobs.tail(id, 0, leaving.signal),
    get: (kind, id) =>
      Promise.resolve(kind === "train" ? service.jobs.getTrain(id) : service.jobs.getExport(id)),
    close: async () => {
      leaving.abort();
      await service.close();
    },
  };
}

const PATHS = { train: "/v1/fine_tuning/jobs", export: "/v1/exports" } as const;

/** The folder's key opens the service, which then reads the job's names where the command was typed. */
function there(address: string, folderKey: string | null): Runner {
  const headers: Record<string, string> = folderKey ? { Authorization: `Bearer ${folderKey}` } : {};
  const ask = async (path: string, init: RequestInit = {}): Promise<Response> => {
    const answer = await fetch(address + path, {
      ...init,
      headers: { ...headers, ...init.headers },
    });
    if (answer.ok) return answer;
    const { error } = await answer.json() as { error: ErrorDetail };
    throw BullionError.from(error);
  };
  return {
    ifLeft: "the job goes on in the service; the same command follows it again",
    create: async (kind, body, cwd) => {
      const origin = folderKey === null ? {} : originHeaders(folderKey, cwd);
      const headers = { "Content-Type": "application/yaml", ...origin };
      return await (await ask(PATHS[kind], { method: "POST", body, headers })).json();
    },
    async *tail(kind, id) {
      const answer = await ask(`${PATHS[kind]}/${id}/events?stream=true`);
      yield* eventsOf(answer.body!);
    },
    get: async (kind, id) => await (await ask(`${PATHS[kind]}/${id}`)).json(),
    close: () => Promise.resolve(),
  };
}

/** The events in a stream of server-sent ones. */
async function* eventsOf(body: ReadableStream<Uint8Array>): AsyncGenerator<JobEventObject> {
  let rest = "";
  for await (const text of body.pipeThrough(new TextDecoderStream())) {
    const frames = (rest + text).split("\n\n");
    rest = frames.pop() ?? "";
    for (const frame of frames) {
      const data = frame.split("\n").find((line) => line.startsWith("data: "))?.slice(6);
      if (data === undefined || data === "[DONE]") continue;
      yield JSON.parse(data) as JobEventObject;
    }
  }
}
