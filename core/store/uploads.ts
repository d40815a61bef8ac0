/**
 * Rows of what users upload: files, data sets, documents. Their bytes are in core/store/blobs.
 */
import { BullionError } from "../../contract/errors.ts";
import type { FilePurpose } from "../../contract/file.ts";
import type { Page, PageQuery } from "../../contract/page.ts";
import type { Database } from "./database.ts";
import { pageOfRows } from "./page.ts";

export interface FileRow {
  id: string;
  filename: string;
  purpose: FilePurpose;
  bytes: number;
  blob: string;
  created_at: number;
}

export interface DatasetRow {
  name: string;
  id: string;
  bytes: number;
  blob: string;
  records: number;
  report: string; // JSON of a DataReport
  created_at: number;
}

export interface DocumentRow {
  id: string;
  filename: string;
  bytes: number;
  blob: string;
  text_blob: string;
  chunks_blob: string;
  pages: number;
  chunks: number;
  created_at: number;
}

interface Tables {
  files: FileRow;
  datasets: DatasetRow;
  documents: DocumentRow;
}

const NOUN = { files: "file", datasets: "data set", documents: "document" } as const;
const CODE = { files: "file", datasets: "dataset", documents: "document" } as const;

/** One table of uploads. Its key is what users call an entry by: an id, or a data set's name. */
export class UploadRows<T extends keyof Tables> {
  readonly #database: Database;
  readonly #table: T;
  readonly #key: "id" | "name";

  constructor(database: Database, table: T) {
    this.#database = database;
    this.#table = table;
    this.#key = table === "datasets" ? "name" : "id";
  }

  /** Inserts, or replaces the entry with the same key. */
  put(row: Omit<Tables[T], "created_at">): Tables[T] {
    const full = { ...row, created_at: Date.now() / 1000 } as Tables[T];
    const columns = Object.keys(full);
    const marks = columns.map(() => "?").join(", ");
    this.#database.run(
      `INSERT OR REPLACE INTO ${this.#table} (${columns.join(", ")}) VALUES (${marks})`,
      ...Object.values(full) as (string | number)[],
    );
    return full;
  }

  find(key: string): Tables[T] | undefined {
    return this.#database.get(`SELECT * FROM ${this.#table} WHERE ${this.#key} = ?`, key);
  }

  byId(id: string): Tables[T] | undefined {
    return this.#database.get(`SELECT * FROM ${this.#table} WHERE id = ?`, id);
  }

  keys(): string[] {
    return this.#database.all<{ key: string }>(
      `SELECT ${this.#key} AS key FROM ${this.#table} ORDER BY rowid`,
    ).map(({ key }) => key);
  }

  /** Throws `file_not_found`, `dataset_not_found` or `document_not_found`. */
  get(key: string, param: string = this.#key): Tables[T] {
    const row = this.find(key);
    if (row) return row;
    throw new BullionError(
      `${CODE[this.#table]}_not_found`,
      `Cannot find a ${NOUN[this.#table]} "${key}": upload it first, or list those there are`,
      { param },
    );
  }

  page<O extends object>(
    query: PageQuery,
    present: (row: Tables[T]) => O,
    purpose?: string,
  ): Page<O> {
    const filter = purpose === undefined ? {} : { where: "purpose = ?", values: [purpose] };
    return pageOfRows<Tables[T], O>(
      this.#database,
      { table: this.#table, cursor: this.#key, ...filter },
      query,
      present,
    );
  }

  delete(key: string): void {
    this.#database.run(`DELETE FROM ${this.#table} WHERE ${this.#key} = ?`, key);
  }
}
