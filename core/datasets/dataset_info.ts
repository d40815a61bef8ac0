/**
 * LLaMA-Factory's dataset_info.json: which file a data-set name means and how its columns are called.
 *
 * Only the entries that are asked for are looked into, as the file often lists many others. Its rule for
 * columns and tags is kept: once they are given, one that is not mapped does not exist.
 */
import type { DataColumns, DataDescription, DataFormat, DataTags } from "../../contract/dataset.ts";
import { BullionError } from "../../contract/errors.ts";
import { instead } from "../config/nearest.ts";
import { defaultDescription, NO_COLUMNS } from "./description.ts";

export interface DatasetEntry {
  name: string;
  /** As written: relative to dataset_dir. */
  file_name: string;
  description: DataDescription;
}

type Entry = Record<string, unknown>;

const ELSEWHERE = ["hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name"];
const OTHER_MEDIA = ["images", "videos", "audios"];
const PREFERENCES = ["chosen", "rejected", "kto_tag"];
const ONLY_FOR_HUBS = ["subset", "split", "folder"];
const KNOWN = ["file_name", "formatting", "columns", "tags", "ranking", "num_samples"]
  .concat(ONLY_FOR_HUBS, ELSEWHERE);
const TABLES = /\.(csv|tsv|parquet|arrow|txt)$/i;

export class DatasetInfo {
  readonly #entries: Record<string, unknown>;
  readonly #where: string;

  /** `where` names the file in messages. Throws `invalid_dataset_info` when it is no JSON object. */
  constructor(text: string, where: string) {
    this.#where = where;
    let parsed: unknown;
    try {
      parsed = JSON.parse(text.replace(/^\uFEFF/, ""));
    } catch (cause) {
      throw this.#refusal(`is no JSON: ${(cause as Error).message}`, cause);
    }
    if (!isObject(parsed)) throw this.#refusal("is not an object of data-set names");
    this.#entries = parsed;
  }

  get names(): string[] {
    return Object.keys(this.#entries);
  }

  has(name: string): boolean {
    return Object.hasOwn(this.#entries, name);
  }

  /** Throws `invalid_dataset_info` for what cannot be read here, by name. */
  entry(name: string): DatasetEntry {
    const entry = this.#entries[name];
    if (!isObject(entry)) throw this.#refusal(`has no object under ${name}`);
    const refuse = (what: string): never => {
      throw this.#refusal(`cannot be used for ${name}: ${what}`);
    };
    for (const key of Object.keys(entry)) {
      if (!KNOWN.includes(key) && !key.startsWith("_")) {
        refuse(`there is no key ${key}; ${instead(key, KNOWN)}`);
      }
    }
    const elsewhere = ELSEWHERE.find((key) => entry[key] !== undefined);
    if (elsewhere !== undefined) {
      refuse(`${elsewhere} is not fetched; download the data and name it by file_name`);
    }
    if (entry.ranking) refuse("ranking: true is preference data, and only sft data is trained");
    if (entry.num_samples != null) refuse("num_samples is random; write max_samples in the YAML");
    const file = entry.file_name;
    if (typeof file !== "string" || file === "") return refuse("file_name is missing");
    if (TABLES.test(file)) refuse(`${file} is no JSON or JSONL; convert it first`);
    return { name, file_name: file, description: describe(entry, refuse) };
  }

  #refusal(what: string, cause?: unknown): BullionError {
    return new BullionError("invalid_dataset_info", `${this.#where} ${what}`, {
      param: "dataset_dir",
      cause,
    });
  }
}

function describe(entry: Entry, refuse: (what: string) => never): DataDescription {
  const formatting = entry.formatting ?? "alpaca";
  if (!["alpaca", "sharegpt", "openai"].includes(formatting as string)) {
    return refuse(`formatting is alpaca, sharegpt or openai, got ${JSON.stringify(formatting)}`);
  }
  const description = defaultDescription(formatting as DataFormat);
  if (entry.columns !== undefined) {
    const given = mapped(entry.columns, "columns", refuse);
    for (const column of [...OTHER_MEDIA, ...PREFERENCES]) {
      const kind = PREFERENCES.includes(column) ? "preference data" : "no text";
      if (given[column] != null) {
        refuse(`the column ${column} is ${kind}, and only sft text is trained`);
      }
    }
    checkNames(
      Object.keys(given),
      [...Object.keys(NO_COLUMNS), ...OTHER_MEDIA, ...PREFERENCES],
      refuse,
    );
    description.columns = onlyGiven(NO_COLUMNS, given);
  }
  if (entry.tags !== undefined) {
    const given = mapped(entry.tags, "tags", refuse);
    const { role_tag, content_tag, ...roles } = description.tags;
    checkNames(Object.keys(given), Object.keys(description.tags), refuse);
    description.tags = {
      ...onlyGiven(roles, given),
      role_tag: given.role_tag ?? role_tag,
      content_tag: given.content_tag ?? content_tag,
    } as DataTags;
  }
  const { columns } = description;
  const needed: keyof DataColumns = description.format === "alpaca" ? "response" : "messages";
  if (columns[needed] === null) refuse(`columns do not map ${needed}`);
  if (description.format === "alpaca" && columns.prompt === null && columns.query === null) {
    refuse("columns map neither prompt nor query");
  }
  return description;
}

function mapped(
  value: unknown,
  what: string,
  refuse: (what: string) => never,
): Record<string, string | null> {
  if (!isObject(value)) return refuse(`${what} is an object, got ${JSON.stringify(value)}`);
  for (const [key, name] of Object.entries(value)) {
    if (name !== null && typeof name !== "string") refuse(`${what}.${key} is the name of a column`);
  }
  return value as Record<string, string | null>;
}

function checkNames(given: string[], known: string[], refuse: (what: string) => never): void {
  const unknown = given.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    refuse(`nothing is called ${unknown}; ${instead(unknown, known)}`);
  }
}

function onlyGiven<T extends Record<string, string | null>>(
  all: T,
  given: Record<string, string | null>,
): T {
  return Object.fromEntries(Object.keys(all).map((name) => [name, given[name] ?? null])) as T;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}
