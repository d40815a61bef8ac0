/**
 * What the names after `dataset` and `eval_dataset` mean: a registered data set, or an entry of
 * dataset_info.json. Pure; who stores data sets and who opens files is the caller.
 */
import { BullionError } from "../../contract/errors.ts";
import { instead } from "../config/nearest.ts";
import type { DatasetEntry, DatasetInfo } from "./dataset_info.ts";

/** `T` is whatever the caller knows of a registered data set, for example its row. */
export type DataSource<T> =
  | { kind: "registered"; name: string; dataset: T }
  | ({ kind: "file" } & DatasetEntry);

export interface DatasetLookup<T> {
  /** A data set by name or id, or an uploaded file by id; null when there is none. */
  registered(name: string): T | null;
  registeredNames(): Iterable<string>;
  /** dataset_info.json of dataset_dir; null when there is no such file. */
  info: DatasetInfo | null;
  /** For messages: where dataset_info.json was looked for. */
  infoPath: string;
  /** Which of the two wins when both know a name: over REST the registered one. */
  prefer: "registered" | "dataset_info";
}

export interface ResolvedDatasets<T> {
  sources: DataSource<T>[];
  notes: string[]; // names with two meanings, and which one counts
}

/** In the order of `names`. Throws `dataset_not_found`, naming the nearest known one. */
export function resolveDatasets<T>(
  names: readonly string[],
  lookup: DatasetLookup<T>,
  param: "dataset" | "eval_dataset" = "dataset",
): ResolvedDatasets<T> {
  const notes: string[] = [];
  const sources = names.map((name): DataSource<T> => {
    const dataset = lookup.registered(name);
    const inInfo = lookup.info?.has(name) ?? false;
    if (dataset !== null && inInfo) {
      const winner = lookup.prefer === "registered" ? "the registered data set" : lookup.infoPath;
      notes.push(
        `${name} is a registered data set and stands in ${lookup.infoPath}; ${winner} counts`,
      );
    }
    if (dataset !== null && !(inInfo && lookup.prefer === "dataset_info")) {
      return { kind: "registered", name, dataset };
    }
    if (inInfo) return { kind: "file", ...lookup.info!.entry(name) };
    throw notFound(name, lookup, param);
  });
  return { sources, notes };
}

function notFound<T>(name: string, lookup: DatasetLookup<T>, param: string): BullionError {
  const known = [...lookup.registeredNames(), ...(lookup.info?.names ?? [])];
  const places = lookup.info === null
    ? `no data set is registered under this name, and there is no ${lookup.infoPath}`
    : `neither a registered data set nor ${lookup.infoPath} has this name`;
  const upload = `upload it with POST /v1/datasets?name=${encodeURIComponent(name)}`;
  const hint = instead(name, known, upload);
  return new BullionError(
    "dataset_not_found",
    `Cannot find the data set ${name}: ${places}; ${hint}`,
    {
      param,
    },
  );
}
