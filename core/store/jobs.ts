/**
 * Rows of jobs: what was planned, and where the result is to be published.
 *
 * A row never changes; what happens to a job is in its events (events.ts), from which core/jobs/lifecycle
 * folds the status.
 */
import { BullionError } from "../../contract/errors.ts";
import type { JobKind, JobQuery } from "../../contract/job.ts";
import type { Page } from "../../contract/page.ts";
import type { Database } from "./database.ts";
import { pageOfRows } from "./page.ts";

export interface JobRow<P = unknown> {
  id: string;
  kind: JobKind;
  plan: P;
  place: string | null;
  created_at: number;
}

type StoredJob<P> = Omit<JobRow<P>, "plan"> & { plan: string };

export class JobRows<P> {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  insert(row: Omit<JobRow<P>, "created_at">): JobRow<P> {
    const created_at = Date.now() / 1000;
    this.#database.run(
      "INSERT INTO jobs (id, kind, plan, place, created_at) VALUES (?, ?, ?, ?, ?)",
      row.id,
      row.kind,
      JSON.stringify(row.plan),
      row.place,
      created_at,
    );
    return { ...row, created_at };
  }

  find(id: string): JobRow<P> | undefined {
    const sql = "SELECT * FROM jobs WHERE id = ?";
    const row = this.#database.get<StoredJob<P>>(sql, id);
    return row && parsePlan<P>(row);
  }

  /** Throws `job_not_found`. */
  get(id: string, kind?: JobKind): JobRow<P> {
    const row = this.find(id);
    if (row && (kind === undefined || row.kind === kind)) return row;
    throw new BullionError(
      "job_not_found",
      `Cannot find a job "${id}": list the jobs to see those there are`,
      { param: "id" },
    );
  }

  /** With `metadata` those alone whose request had every pair of it; null: those that had none. */
  page<T extends object>(
    kind: JobKind,
    { metadata, ...query }: JobQuery,
    present: (row: JobRow<P>) => T,
  ): Page<T> {
    const pairs = Object.entries(metadata ?? {});
    const path = "'$.request.metadata'";
    const where = [
      "kind = ?",
      ...pairs.map(() =>
        `EXISTS (SELECT 1 FROM json_each(jobs.plan, ${path}) AS pair
           WHERE pair.key = ? AND pair.value = ?)`
      ),
      ...(metadata === null ? [`json_type(plan, ${path}) IS NOT 'object'`] : []),
    ].join(" AND ");
    return pageOfRows<StoredJob<P>, T>(
      this.#database,
      { table: "jobs", cursor: "id", where, values: [kind, ...pairs.flat()] },
      query,
      (row) => present(parsePlan(row)),
    );
  }

  /** Jobs that have not ended, oldest first. One that failed and was queued again has not. */
  unfinished(): JobRow<P>[] {
    return this.#database.all<StoredJob<P>>(
      `SELECT * FROM jobs WHERE NOT EXISTS (SELECT 1 FROM events AS last WHERE job_id = jobs.id
         AND type IN ('succeeded', 'failed', 'cancelled') AND NOT EXISTS (SELECT 1 FROM events
           WHERE job_id = jobs.id AND type = 'queued' AND sequence > last.sequence))
       ORDER BY rowid`,
    ).map(parsePlan<P>);
  }

  /** Every job that was to be published at `place`, newest first. */
  at(place: string): JobRow<P>[] {
    return this.#database.all<StoredJob<P>>(
      "SELECT * FROM jobs WHERE place = ? ORDER BY rowid DESC",
      place,
    ).map(parsePlan<P>);
  }
}

function parsePlan<P>(row: StoredJob<P>): JobRow<P> {
  return { ...row, plan: JSON.parse(row.plan) };
}
