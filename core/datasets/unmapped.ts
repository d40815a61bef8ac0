/**
 * Columns that look as if they belonged to the conversation but that nothing maps. LLaMA-Factory leaves
 * them out in silence; here the user is told.
 */
import type { DataDescription } from "../../contract/dataset.ts";

const TELLING = ["system", "history", "tools"] as const;

export class UnmappedColumns {
  readonly #counts = new Map<string, number>();

  look(record: Record<string, unknown>, { columns }: DataDescription): void {
    const mapped = new Set(Object.values(columns));
    for (const column of TELLING) {
      const value = record[column];
      const isEmpty = value === undefined || value === null || value === "" ||
        (Array.isArray(value) && value.length === 0);
      if (isEmpty || mapped.has(column)) continue;
      this.#counts.set(column, (this.#counts.get(column) ?? 0) + 1);
    }
  }

  notes(): string[] {
    return [...this.#counts].map(([column, count]) =>
      `the column ${column} of ${count} records is not used, as no columns of dataset_info.json map it`
    );
  }
}
