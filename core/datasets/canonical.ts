/**
 * A file of training data as canonical JSONL: every record read, every fault named, and a report.
 *
 * This is the only way in; what formats there are is in formats.ts. No file is opened here.
 */
import type { DataDescription, DataReport, TrainingRecord } from "../../contract/dataset.ts";
import { BullionError } from "../../contract/errors.ts";
import { detectDescription } from "./description.ts";
import { EmptyAnswers } from "./empty_answers.ts";
import { decodeUtf8 } from "./encoding.ts";
import type { Converted } from "./conversion.ts";
import { convertRecord } from "./formats.ts";
import { layoutOf, type SourceRecord, sourceRecords } from "./source.ts";
import { UnmappedColumns } from "./unmapped.ts";

export interface CanonicalOptions {
  /** As dataset_info.json has it; null: found from the first record. */
  description?: DataDescription | null;
  maxRecords?: number;
  signal?: AbortSignal;
}

/** Control tokens of chat models: `<|eot_id|>`, `<|im_end|>` … In a text they stay text. */
const SPECIAL_TOKEN = /<\|[A-Za-z0-9_]+\|>/g;

const FAULTS_SHOWN = 20;
const RECORDS_A_TURN = 2_000; // between two looks at the event loop

/**
 * Hands every canonical line (with its newline) to `write` and returns the report. Faults are found in
 * the whole file before `invalid_dataset` is thrown, so what was written until then is to be thrown
 * away. Also throws `empty_dataset`, `wrong_encoding`, `dataset_too_large`.
 */
export async function writeCanonical(
  bytes: Uint8Array<ArrayBuffer>,
  write: (line: string) => void,
  options: CanonicalOptions = {},
): Promise<DataReport> {
  const text = decodeUtf8(bytes);
  if (text.trim() === "") {
    throw new BullionError("empty_dataset", `Cannot use the data set as it is empty`, {
      param: "file",
    });
  }
  refuseSingleObject(text);
  const reading = new Reading(options.description ?? null, layoutOf(text), write);
  for (const record of sourceRecords(text)) {
    if (record.index >= (options.maxRecords ?? Infinity)) {
      throw new BullionError(
        "dataset_too_large",
        `Cannot use the data set as it has more than ${options.maxRecords} records ` +
          `(limits.max_records): line ${record.line}`,
        { param: "file" },
      );
    }
    reading.take(record);
    if (reading.isHopeless) break;
    if (record.index % RECORDS_A_TURN === RECORDS_A_TURN - 1) {
      await new Promise((resolve) => setTimeout(resolve));
      options.signal?.throwIfAborted();
    }
  }
  return reading.report(bytes.length, await sha256(bytes));
}

/** The same as an array, for tests and small data. */
export async function toCanonical(
  bytes: Uint8Array<ArrayBuffer>,
  options: CanonicalOptions = {},
): Promise<{ records: TrainingRecord[]; report: DataReport }> {
  const records: TrainingRecord[] = [];
  const report = await writeCanonical(bytes, (line) => records.push(JSON.parse(line)), options);
  return { records, report };
}

/** A record laid out over several lines is neither JSONL nor a list; each line would be a fault. */
function refuseSingleObject(text: string): void {
  if (!/^\s*\{\s*\n/.test(text)) return;
  try {
    JSON.parse(text);
  } catch {
    return;
  }
  throw invalid([
    "the file is one JSON object over several lines; put records into a list in [ ], or one on a line",
  ]);
}

class Reading {
  #description: DataDescription | null;
  readonly #layout: "json" | "jsonl";
  readonly #write: (line: string) => void;
  readonly #faults: string[] = [];
  readonly #unmapped = new UnmappedColumns();
  readonly #empty = new EmptyAnswers();
  readonly #dropped: DataReport["dropped"] = [];
  readonly #special: DataReport["special_token_texts"] = {
    records: 0,
    occurrences: 0,
    first_lines: [],
  };
  #sources = 0;
  #records = 0;

  constructor(
    description: DataDescription | null,
    layout: "json" | "jsonl",
    write: (line: string) => void,
  ) {
    this.#description = description;
    this.#layout = layout;
    this.#write = write;
  }

  get isHopeless(): boolean {
    return this.#faults.length >= FAULTS_SHOWN;
  }

  take(record: SourceRecord): void {
    this.#sources++;
    if ("broken" in record) return this.#fault(record.at, record.index, record.broken);
    this.#description ??= detectDescription(record.value);
    if (this.#description === null) {
      const columns = Object.keys(record.value).join(", ") || "no column";
      return this.#fault(
        record.line,
        record.index,
        `has ${columns}; a record has instruction, input and output (alpaca), conversations ` +
          `(sharegpt) or messages (OpenAI), or dataset_info.json names its columns`,
      );
    }
    const converted = convertRecord(record.value, this.#description);
    if ("fault" in converted) return this.#fault(record.line, record.index, converted.fault);
    this.#unmapped.look(record.value, this.#description);
    if ("drop" in converted) {
      this.#dropped.push({ index: record.index, line: record.line, reason: converted.drop });
      return;
    }
    this.#emit(converted, record);
  }

  #emit({ system, tools, turns }: Converted, { index, line }: SourceRecord): void {
    const texts = [system ?? "", tools ?? "", ...turns.map(({ content }) => content)];
    if (!texts.every((text) => text.isWellFormed())) {
      return this.#fault(line, index, "holds half a character (a lone surrogate such as \\ud800)");
    }
    const occurrences = texts.reduce((n, text) => n + (text.match(SPECIAL_TOKEN)?.length ?? 0), 0);
    if (occurrences > 0) {
      this.#special.records++;
      this.#special.occurrences += occurrences;
      if (this.#special.first_lines.length < 10) this.#special.first_lines.push(line);
    }
    this.#records++;
    this.#empty.look(turns, { index, line });
    const canonical: TrainingRecord = { index, system, tools, turns };
    this.#write(JSON.stringify(canonical) + "\n");
  }

  #fault(line: number, index: number, what: string): void {
    const record = this.#layout === "json" ? ` (record ${index + 1})` : "";
    this.#faults.push(`line ${line}${record} ${what}`);
  }

  report(bytes: number, hash: string): DataReport {
    if (this.#faults.length > 0) throw invalid(this.#faults);
    const description = this.#description;
    if (description === null || this.#sources === 0) {
      throw new BullionError("empty_dataset", "Cannot use the data set as it has no record", {
        param: "file",
      });
    }
    if (this.#records === 0) {
      const { line, reason } = this.#dropped[0]!;
      throw invalid([
        `none of its ${this.#sources} records can be trained on: line ${line} ${reason}`,
      ]);
    }
    return {
      format: description.format,
      layout: this.#layout,
      description,
      bytes,
      sha256: hash,
      source_records: this.#sources,
      records: this.#records,
      dropped: this.#dropped,
      special_token_texts: this.#special,
      notes: [...this.#unmapped.notes(), ...this.#empty.notes(), ...this.#specialNotes()],
    };
  }

  #specialNotes(): string[] {
    const { records, occurrences, first_lines } = this.#special;
    if (records === 0) return [];
    return [
      `${occurrences} texts like <|eot_id|> stand in ${records} records (first in line ` +
      `${first_lines[0]}); they stay text and never become control tokens`,
    ];
  }
}

function invalid(faults: string[]): BullionError {
  const many = faults.length > 1 ? `, ${faults.length} faults` : "";
  const more = faults.length >= FAULTS_SHOWN ? "\n… the rest was not read" : "";
  const text = faults.length === 1 ? ` ${faults[0]}` : "\n- " + faults.join("\n- ");
  return new BullionError("invalid_dataset", `Cannot use the data set${many}:${text}${more}`, {
    param: "file",
  });
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", bytes);
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
