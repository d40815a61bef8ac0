/**
 * The SQLite database: opening, migrating, transactions, and its failures as typed errors.
 *
 * Owns the connection; rows belong to the files beside this one. WAL with synchronous=FULL: an event
 * that a client has seen must survive a power cut, and a job writes a few rows a second at most.
 */
import { DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite";
import { BullionError } from "../../contract/errors.ts";
import { MIGRATIONS } from "./migrations.ts";

type Row = Record<string, unknown>;

const SQLITE_FULL = 13;

export class Database {
  readonly #sqlite: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  #depth = 0;

  /** `path` may be ":memory:". Refuses a database that a newer Bullion has migrated further. */
  constructor(path: string) {
    this.#sqlite = new DatabaseSync(path);
    this.#sqlite.exec("PRAGMA journal_mode = WAL");
    this.#sqlite.exec("PRAGMA synchronous = FULL");
    this.#sqlite.exec("PRAGMA foreign_keys = ON");
    this.#sqlite.exec("PRAGMA busy_timeout = 5000");
    this.#migrate();
  }

  all<T = Row>(sql: string, ...values: SQLInputValue[]): T[] {
    return this.#guard(() => this.#prepare(sql).all(...values) as T[]);
  }

  get<T = Row>(sql: string, ...values: SQLInputValue[]): T | undefined {
    return this.#guard(() => this.#prepare(sql).get(...values) as T | undefined);
  }

  /** Returns how many rows changed. */
  run(sql: string, ...values: SQLInputValue[]): number {
    return this.#guard(() => Number(this.#prepare(sql).run(...values).changes));
  }

  /** All of `work` or nothing; nested calls join the outer transaction. `work` must not await. */
  transaction<T>(work: () => T): T {
    if (this.#depth > 0) return work();
    this.#guard(() => this.#sqlite.exec("BEGIN IMMEDIATE"));
    this.#depth += 1;
    try {
      const result = work();
      this.#guard(() => this.#sqlite.exec("COMMIT"));
      return result;
    } catch (error) {
      this.#sqlite.exec("ROLLBACK");
      throw error;
    } finally {
      this.#depth -= 1;
    }
  }

  close(): void {
    this.#statements.clear();
    this.#sqlite.close();
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (!statement) this.#statements.set(sql, statement = this.#sqlite.prepare(sql));
    return statement;
  }

  #migrate(): void {
    const { user_version } = this.get<{ user_version: number }>("PRAGMA user_version")!;
    if (user_version > MIGRATIONS.length) {
      throw new BullionError(
        "data_folder_too_new",
        `Cannot open the data folder as its schema has number ${user_version} and this version of ` +
          `Bullion knows ${MIGRATIONS.length}: use the newer version or another --data folder`,
      );
    }
    for (let number = user_version; number < MIGRATIONS.length; number++) {
      this.transaction(() => {
        this.#sqlite.exec(MIGRATIONS[number]!);
        this.#sqlite.exec(`PRAGMA user_version = ${number + 1}`);
      });
    }
  }

  #guard<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      if ((error as { errcode?: number }).errcode === SQLITE_FULL) throw diskFull(error);
      throw error;
    }
  }
}

/** The one wording for a full disk, whoever met it. */
export function diskFull(cause: unknown): BullionError {
  return new BullionError(
    "disk_full",
    "Cannot save as the disk of the data folder is full: free some space and try again; " +
      "what was saved before is untouched",
    { cause },
  );
}

/** A failure of the file system as a typed error where it is a full disk, otherwise as it is. */
export function storageError(error: unknown): unknown {
  const code = (error as { code?: string } | null)?.code;
  return code === "ENOSPC" || code === "EDQUOT" ? diskFull(error) : error;
}
