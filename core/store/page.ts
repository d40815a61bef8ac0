/**
 * Pages of a table in the order of insertion, by the cursor that OpenAI's lists use.
 */
import type { SQLInputValue } from "node:sqlite";
import { BullionError } from "../../contract/errors.ts";
import type { Page, PageQuery } from "../../contract/page.ts";
import type { Database } from "./database.ts";

/** Entries of a page that names no limit: as many as OpenAI's list of that kind. */
const USUAL_LIMIT = {
  files: 10_000,
  datasets: 20,
  documents: 20,
  jobs: 20,
  events: 20,
  checkpoints: 10,
} as const;

type Listed = keyof typeof USUAL_LIMIT;

export interface Listing {
  table: Exclude<Listed, "events">;
  cursor: "id" | "name"; // the column that `after` names
  where?: string;
  values?: SQLInputValue[];
}

/** Rows after the entry that `after` names, newest first unless `order` is "asc". */
export function pageOfRows<R, T extends object>(
  database: Database,
  { table, cursor, where = "1", values = [] }: Listing,
  query: PageQuery,
  present: (row: R) => T,
): Page<T> {
  const limit = limitOf(query, table);
  const [sign, direction] = query.order === "asc" ? [">", "ASC"] : ["<", "DESC"];
  const conditions = [where];
  const parameters = [...values];
  if (query.after !== undefined) {
    // An entry of another list, such as another job's checkpoint, is none to go on from.
    const sql = `SELECT rowid AS place FROM ${table} WHERE ${where} AND ${cursor} = ?`;
    const row = database.get<{ place: number }>(sql, ...values, query.after);
    if (!row) throw unknownCursor(query.after);
    conditions.push(`rowid ${sign} ?`);
    parameters.push(row.place);
  }
  const rows = database.all<R>(
    `SELECT * FROM ${table} WHERE ${conditions.join(" AND ")} ORDER BY rowid ${direction} LIMIT ?`,
    ...parameters,
    limit + 1,
  );
  return page(rows.slice(0, limit).map(present), rows.length > limit, cursor);
}

export function limitOf({ limit }: PageQuery, list: Listed): number {
  return limit ?? USUAL_LIMIT[list];
}

/** A page of entries whose id stands under `key`. */
export function page<T extends object>(data: T[], has_more: boolean, key = "id"): Page<T> {
  const name = (entry: T | undefined) =>
    entry ? String((entry as Record<string, unknown>)[key]) : null;
  return { object: "list", data, first_id: name(data[0]), last_id: name(data.at(-1)), has_more };
}

export function unknownCursor(after: string): BullionError {
  return new BullionError(
    "cursor_not_found",
    `Cannot list what follows "${after}" as there is no such entry: begin without "after"`,
    { param: "after" },
  );
}
