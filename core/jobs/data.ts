/**
 * A job's data: which files its names mean, and those files as canonical JSONL in the job's folder.
 *
 * Locating happens when a job is created and refuses names that mean nothing; reading happens while it
 * is `validating_files` and may take long. The job keeps its own canonical copy.
 */
import { join, resolve } from "node:path";
import { BullionError } from "../../contract/errors.ts";
import type { DataDescription, DataReport } from "../../contract/dataset.ts";
import { writeCanonical } from "../datasets/canonical.ts";
import { DatasetInfo } from "../datasets/dataset_info.ts";
import { resolveDatasets } from "../datasets/registry.ts";
import type { Origin } from "../models/resolve.ts";
import { storageError } from "../store/database.ts";
import { inside } from "../store/paths.ts";
import type { Store } from "../store/store.ts";

/** One file of training data. `description` null: its format is found from the first record. */
export interface Source {
  name: string;
  path: string;
  description: DataDescription | null;
  /** The field or key that named it, for errors; plans of old have none. */
  param?: string;
}

export interface Sources {
  train: Source[];
  eval: Source[];
  notes: string[]; // names with two meanings
}

type Uploads = Pick<Store, "folder" | "blobs" | "files" | "datasets">;

/** Files by the ids that OpenAI's request names. Throws `file_not_found`, `invalid_file_purpose`. */
export function locateFiles(train: string, evaluation: string | null, store: Uploads): Sources {
  const source = (id: string, param: string): Source => {
    const { purpose, blob } = store.files.get(id, param);
    if (purpose !== "fine-tune") throw wrongPurpose(id, purpose, param);
    return { name: id, path: store.blobs.path(blob), description: null, param };
  };
  return {
    train: [source(train, "training_file")],
    eval: evaluation === null ? [] : [source(evaluation, "validation_file")],
    notes: [],
  };
}

/** Data sets by the names of a YAML. Throws `dataset_not_found` and what paths can be refused for. */
export function locateDatasets(
  names: { train: readonly string[]; eval: readonly string[]; dataset_dir: string },
  origin: Origin,
  store: Uploads,
): Sources {
  const below = (folder: string, name: string, param: string) =>
    origin.kind === "rest" ? inside(folder, name, param) : resolve(folder, name);
  const home = origin.kind === "rest" ? store.folder : origin.cwd;
  const folder = below(home, names.dataset_dir, "dataset_dir");
  const infoPath = join(folder, "dataset_info.json");
  const shown = join(names.dataset_dir, "dataset_info.json");
  const text = readIfThere(infoPath);
  const info = text === null ? null : new DatasetInfo(text, shown);
  const locate = (wanted: readonly string[], param: "dataset" | "eval_dataset") => {
    const { sources, notes } = resolveDatasets(wanted, {
      registered: (name) => registered(name, store),
      registeredNames: () => store.datasets.keys(),
      info,
      infoPath: shown,
      prefer: origin.kind === "rest" ? "registered" : "dataset_info",
    }, param);
    const found = sources.map((source): Source => {
      if (source.kind === "registered") return { ...source.dataset, name: source.name, param };
      const path = below(folder, source.file_name, param);
      if (!isFile(path)) throw noFile(source.name, path, shown, param);
      return { name: source.name, path, description: source.description, param };
    });
    return { found, notes };
  };
  const train = locate(names.train, "dataset");
  const evaluation = locate(names.eval, "eval_dataset");
  return {
    train: train.found,
    eval: evaluation.found,
    notes: [...train.notes, ...evaluation.notes],
  };
}

/** Where the canonical copies lie. */
export function canonicalFiles(jobFolder: string, part: "train" | "eval", count: number): string[] {
  return Array.from({ length: count }, (_, i) => join(jobFolder, "data", `${part}-${i}.jsonl`));
}

/**
 * Reads every source and writes its canonical copy, whole and on the disk, or throws what is wrong with
 * it: its name, its line. A second call writes the same again.
 */
export async function convert(
  sources: Sources,
  jobFolder: string,
  maxRecords: number,
  signal: AbortSignal,
): Promise<{ name: string; report: DataReport }[]> {
  const reports = [];
  for (const part of ["train", "eval"] as const) {
    const files = canonicalFiles(jobFolder, part, sources[part].length);
    for (const [index, source] of sources[part].entries()) {
      signal.throwIfAborted();
      const report = await convertOne(source, files[index]!, maxRecords, signal);
      reports.push({ name: source.name, report });
    }
  }
  return reports;
}

async function convertOne(
  source: Source,
  target: string,
  maxRecords: number,
  signal: AbortSignal,
): Promise<DataReport> {
  await Deno.mkdir(join(target, ".."), { recursive: true });
  const partial = target + ".partial";
  try {
    const bytes = await Deno.readFile(source.path);
    using file = await Deno.open(partial, { write: true, create: true, truncate: true });
    const encoder = new TextEncoder();
    let lines: string[] = [];
    const flush = () => {
      const buffer = encoder.encode(lines.join(""));
      for (let done = 0; done < buffer.length;) done += file.writeSync(buffer.subarray(done));
      lines = [];
    };
    const { description } = source;
    const report = await writeCanonical(bytes, (line) => {
      if (lines.push(line) >= 1000) flush();
    }, { description, maxRecords, signal });
    flush();
    await file.sync();
    await Deno.rename(partial, target);
    return report;
  } catch (error) {
    await Deno.remove(partial).catch(() => {});
    const isGone = error instanceof Deno.errors.NotFound;
    throw isGone ? gone(source) : named(source, storageError(error));
  }
}

function wrongPurpose(id: string, purpose: string, param: string): BullionError {
  return new BullionError(
    "invalid_file_purpose",
    `Cannot train with the file ${id} as its purpose is "${purpose}": ` +
      'upload it again with the purpose "fine-tune"',
    { param },
  );
}

function gone({ name, path, param }: Source): BullionError {
  return new BullionError(
    "dataset_file_not_found",
    `Cannot read the data set ${name} as ${path} is gone: it was deleted after the job was created`,
    { param },
  );
}

/** Of several data sets a fault must say which one it is in. */
function named({ name, param = "dataset" }: Source, error: unknown): unknown {
  if (!(error instanceof BullionError) || error.code === "disk_full") return error;
  const message = `${error.message} (data set ${name})`;
  return new BullionError(error.code, message, { param, cause: error.cause });
}

function registered(name: string, { datasets, files, blobs }: Uploads): Source | null {
  const set = datasets.find(name) ?? datasets.byId(name);
  if (set) {
    const { description } = JSON.parse(set.report) as DataReport;
    return { name, path: blobs.path(set.blob), description };
  }
  const file = files.find(name);
  return file ? { name, path: blobs.path(file.blob), description: null } : null;
}

function readIfThere(path: string): string | null {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
      return null;
    }
    throw error;
  }
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

function noFile(name: string, path: string, info: string, param: string): BullionError {
  return new BullionError(
    "dataset_file_not_found",
    `Cannot read the data set ${name} as ${path}, which ${info} names, is not there: ` +
      "put the file there, or correct file_name",
    { param },
  );
}
