/**
 * Rows of a job's events and of the checkpoints that still exist.
 *
 * Appending is the only way in which a job changes; it keeps the table of checkpoints in step with the
 * events that tell of them, in one transaction.
 */
import { newId } from "../../contract/ids.ts";
import type { JobEvent, JobEventBody } from "../../contract/job.ts";
import type { Page, PageQuery } from "../../contract/page.ts";
import type { Database } from "./database.ts";
import { limitOf, page, pageOfRows, unknownCursor } from "./page.ts";

export interface CheckpointRow {
  id: string;
  job_id: string;
  step: number;
  path: string;
  metrics: Record<string, number>;
  created_at: number;
}

type Stored<T, K extends keyof T> = Omit<T, K> & Record<K, string>;
type StoredEvent = Stored<JobEvent, "body">;

const LIFECYCLE = "('created','queued','started','paused','interrupted','succeeded','failed'," +
  "'cancelled','stop_requested')";

export class EventRows {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Appends one event. Returns it with its sequence number. */
  append(jobId: string, body: JobEventBody): JobEvent {
    return this.#database.transaction(() => {
      const { last } = this.#database.get<{ last: number }>(
        "SELECT COALESCE(MAX(sequence), 0) AS last FROM events WHERE job_id = ?",
        jobId,
      )!;
      const id = newId("event");
      const event = { job_id: jobId, sequence: last + 1, id, created_at: Date.now() / 1000, body };
      this.#database.run(
        "INSERT INTO events (job_id, sequence, id, type, body, created_at) VALUES (?, ?, ?, ?, ?, ?)",
        jobId,
        event.sequence,
        id,
        body.type,
        JSON.stringify(body),
        event.created_at,
      );
      this.#follow(jobId, body, event.created_at);
      return event;
    });
  }

  events(jobId: string, afterSequence: number, limit: number): JobEvent[] {
    return this.#database.all<StoredEvent>(
      "SELECT * FROM events WHERE job_id = ? AND sequence > ? ORDER BY sequence LIMIT ?",
      jobId,
      afterSequence,
      limit,
    ).map(parseBody);
  }

  /** What the status is folded from, and the newest progress; the rest only tells. */
  lifecycle(jobId: string): JobEvent[] {
    return this.#database.all<StoredEvent>(
      `SELECT * FROM events WHERE job_id = ?1 AND (type IN ${LIFECYCLE} OR sequence =
         (SELECT MAX(sequence) FROM events WHERE job_id = ?1 AND type = 'progress'))
       ORDER BY sequence`,
      jobId,
    ).map(parseBody);
  }

  /** The newest progress that had come at `step`. */
  progressAt(jobId: string, step: number): Extract<JobEventBody, { type: "progress" }> | null {
    const row = this.#database.get<StoredEvent>(
      `SELECT * FROM events WHERE job_id = ? AND type = 'progress'
         AND json_extract(body, '$.step') <= ? ORDER BY sequence DESC LIMIT 1`,
      jobId,
      step,
    );
    return row ? JSON.parse(row.body) : null;
  }

  /** What was measured while a job ran, oldest first. */
  measured(jobId: string): JobEventBody[] {
    return this.#database.all<StoredEvent>(
      `SELECT * FROM events WHERE job_id = ? AND type IN ('progress', 'evaluated')
       ORDER BY sequence`,
      jobId,
    ).map((row) => parseBody(row).body);
  }

  /** Events as OpenAI lists them: newest first. */
  eventPage<T extends object>(id: string, query: PageQuery, present: (e: JobEvent) => T): Page<T> {
    const limit = limitOf(query, "events");
    const ascending = query.order === "asc";
    let cursor = ascending ? 0 : Number.MAX_SAFE_INTEGER;
    if (query.after !== undefined) {
      const row = this.#database.get<{ sequence: number }>(
        "SELECT sequence FROM events WHERE job_id = ? AND id = ?",
        id,
        query.after,
      );
      if (!row) throw unknownCursor(query.after);
      cursor = row.sequence;
    }
    const [sign, direction] = ascending ? [">", "ASC"] : ["<", "DESC"];
    const rows = this.#database.all<StoredEvent>(
      `SELECT * FROM events WHERE job_id = ? AND sequence ${sign} ?
       ORDER BY sequence ${direction} LIMIT ?`,
      id,
      cursor,
      limit + 1,
    );
    return page(rows.slice(0, limit).map((row) => present(parseBody(row))), rows.length > limit);
  }

  checkpointPage<T extends object>(
    id: string,
    query: PageQuery,
    present: (row: CheckpointRow) => T,
  ): Page<T> {
    return pageOfRows<Stored<CheckpointRow, "metrics">, T>(
      this.#database,
      { table: "checkpoints", cursor: "id", where: "job_id = ?", values: [id] },
      query,
      (row) => present(parseMetrics(row)),
    );
  }

  /** Checkpoints that have not been removed, newest step first. */
  checkpoints(jobId: string): CheckpointRow[] {
    return this.#database.all<Stored<CheckpointRow, "metrics">>(
      "SELECT * FROM checkpoints WHERE job_id = ? ORDER BY step DESC",
      jobId,
    ).map(parseMetrics);
  }

  /** Forgets a job's checkpoints, whose files go; the events that told of them stay. */
  forgetCheckpoints(jobId: string): void {
    this.#database.run("DELETE FROM checkpoints WHERE job_id = ?", jobId);
  }

  #follow(jobId: string, body: JobEventBody, created_at: number): void {
    if (body.type === "checkpoint") {
      this.#database.run(
        `INSERT INTO checkpoints (id, job_id, step, path, metrics, created_at)
         VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (job_id, step)
         DO UPDATE SET path = excluded.path, metrics = excluded.metrics`,
        newId("checkpoint"),
        jobId,
        body.step,
        body.path,
        JSON.stringify({ step: body.step, epoch: body.epoch, ...body.metrics }),
        created_at,
      );
    }
    if (body.type === "checkpoint_removed") {
      this.#database.run(
        "DELETE FROM checkpoints WHERE job_id = ? AND step = ?",
        jobId,
        body.step,
      );
    }
  }
}

function parseBody(row: StoredEvent): JobEvent {
  const { job_id, sequence, id, created_at } = row;
  return { job_id, sequence, id, created_at, body: JSON.parse(row.body) };
}

function parseMetrics(row: Stored<CheckpointRow, "metrics">): CheckpointRow {
  return { ...row, metrics: JSON.parse(row.metrics) };
}
