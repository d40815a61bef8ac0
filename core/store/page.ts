/**
 * Pages of a table in the order of insertion, by the cursor that OpenAI's lists use.
 */
import type { SQLInputValue } from "node:sqlite";
import { BullionError } from "../../contract/errors.ts";
import type { Page, PageQuery } from "../../contract/page.ts";
import type { Database } from "./database.ts";

export const USUAL_LIMIT = 20;

export interface Listing {
  table: "files" | "datasets" | "documents" | "jobs" | "checkpoints" | "models";
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
  const limit = query.limit ?? USUAL_LIMIT;
  const [sign, direction] = query.order === "asc" ? [">", "ASC"] : ["<", "DESC"];
  const conditions = [where];
  const parameters = [...values];
  if (query.after !== undefined) {
    const sql = `SELECT rowid AS place FROM ${table} WHERE ${cursor} = ?`;
    const row = database.get<{ place: number }>(sql, query.after);
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
