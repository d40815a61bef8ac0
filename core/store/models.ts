/**
 * Rows of models made here (adapters and merges) and of the names under which they are published.
 */
import type { BaseModel } from "../../contract/recipe.ts";
import type { Database } from "./database.ts";

export interface ModelRow {
  id: string;
  kind: "adapter" | "merged";
  job_id: string;
  base: BaseModel; // what an adapter lies over, what a merge was made from
  path: string;
  details: Record<string, unknown>;
  created_at: number;
}

export interface NameRow {
  name: string;
  place: string;
  target: string;
  job_id: string;
  created_at: number;
}

type StoredModel = Omit<ModelRow, "base" | "details"> & { base: string; details: string };

export class ModelRows {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  insert(row: Omit<ModelRow, "created_at">): void {
    this.#database.run(
      `INSERT INTO models (id, kind, job_id, base, path, details, created_at)
       VALUES (?, ?, ?, ?, ?, ?, ?)`,
      row.id,
      row.kind,
      row.job_id,
      JSON.stringify(row.base),
      row.path,
      JSON.stringify(row.details),
      Date.now() / 1000,
    );
  }

  get(id: string): ModelRow | undefined {
    const row = this.#database.get<StoredModel>("SELECT * FROM models WHERE id = ?", id);
    return row && parse(row);
  }

  ofJob(jobId: string): ModelRow | undefined {
    const row = this.#database.get<StoredModel>("SELECT * FROM models WHERE job_id = ?", jobId);
    return row && parse(row);
  }

  all(): ModelRow[] {
    return this.#database.all<StoredModel>("SELECT * FROM models ORDER BY rowid DESC").map(parse);
  }

  /** Forgets the model and its names. Returns the names, so that their links can go as well. */
  delete(id: string): NameRow[] {
    return this.#database.transaction(() => {
      const row = this.get(id);
      if (!row) return [];
      const names = this.namesOf(row.job_id);
      this.#database.run("DELETE FROM names WHERE job_id = ?", row.job_id);
      this.#database.run("DELETE FROM models WHERE id = ?", id);
      return names;
    });
  }

  publish(row: Omit<NameRow, "created_at">): void {
    this.#database.run(
      `INSERT INTO names (name, place, target, job_id, created_at) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT (name) DO UPDATE SET place = excluded.place, target = excluded.target,
         job_id = excluded.job_id, created_at = excluded.created_at`,
      row.name,
      row.place,
      row.target,
      row.job_id,
      Date.now() / 1000,
    );
  }

  named(name: string): NameRow | undefined {
    return this.#database.get<NameRow>("SELECT * FROM names WHERE name = ?", name);
  }

  names(): NameRow[] {
    return this.#database.all<NameRow>("SELECT * FROM names ORDER BY name");
  }

  namesOf(jobId: string): NameRow[] {
    return this.#database.all<NameRow>("SELECT * FROM names WHERE job_id = ? ORDER BY name", jobId);
  }
}

function parse(row: StoredModel): ModelRow {
  return { ...row, base: JSON.parse(row.base), details: JSON.parse(row.details) };
}
