/** Registered data sets: stored as they came, checked before they count. */
import type { DataReport } from "../../contract/dataset.ts";
import { BullionError } from "../../contract/errors.ts";
import type { DatasetObject } from "../../contract/file.ts";
import { newId } from "../../contract/ids.ts";
import type { Page, PageQuery } from "../../contract/page.ts";
import { writeCanonical } from "../datasets/canonical.ts";
import type { Datasets } from "../rooms.ts";
import type { Store } from "../store/store.ts";
import type { DatasetRow } from "../store/uploads.ts";

export interface DatasetLimits {
  bytes: number;
  records: number;
}

export class DatasetRoom implements Datasets {
  readonly #store: Store;
  readonly #limits: DatasetLimits;

  constructor(store: Store, limits: DatasetLimits) {
    this.#store = store;
    this.#limits = limits;
  }

  async put(name: string, content: ReadableStream<Uint8Array>): Promise<DatasetObject> {
    checkName(name);
    let refused: { sha256: string } | null = null;
    try {
      using blob = await this.#store.blobs.put(content, this.#limits.bytes);
      refused = blob;
      const bytes = await Deno.readFile(this.#store.blobs.path(blob.sha256));
      const report = await writeCanonical(bytes, () => {}, { maxRecords: this.#limits.records });
      const older = this.#store.datasets.find(name);
      const row = this.#store.datasets.put({
        name,
        id: older?.id ?? newId("dataset"),
        bytes: blob.bytes,
        blob: blob.sha256,
        records: report.records,
        report: JSON.stringify(report),
      });
      refused = null;
      if (older) await this.#store.forgetBlobs(older.blob);
      return present(row);
    } finally {
      if (refused) await this.#store.forgetBlobs(refused.sha256);
    }
  }

  list(query: PageQuery): Page<DatasetObject> {
    return this.#store.datasets.page(query, present);
  }

  get(name: string): DatasetObject {
    return present(this.#store.datasets.get(name));
  }

  async content(name: string): Promise<ReadableStream<Uint8Array>> {
    return await this.#store.blobs.open(this.#store.datasets.get(name).blob);
  }

  async delete(name: string): Promise<{ id: string; object: "dataset"; deleted: true }> {
    const { id, blob } = this.#store.datasets.get(name);
    this.#store.datasets.delete(name);
    await this.#store.forgetBlobs(blob);
    return { id, object: "dataset", deleted: true };
  }
}

function present(row: DatasetRow): DatasetObject {
  const { name, id, bytes, records, created_at } = row;
  return {
    id,
    object: "dataset",
    name,
    created_at: Math.floor(created_at),
    bytes,
    records,
    report: JSON.parse(row.report) as DataReport,
  };
}

/** A recipe's `dataset` is a list with commas, so a name can hold none. */
function checkName(name: string): void {
  if (/^[^\s,/\\\p{Cc}]{1,128}$/u.test(name) && name !== "." && name !== "..") return;
  throw new BullionError(
    "invalid_dataset_name",
    `Cannot register a data set as "${name}": a name has 1 to 128 characters, ` +
      "none of them a space, a comma, a slash or a control character, and is not . or ..",
    { param: "name" },
  );
}
