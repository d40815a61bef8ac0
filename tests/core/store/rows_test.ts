// Rows: events stay as they were written, pages show each entry once, schemas only grow.
import { deepStrictEqual, equal, throws } from "node:assert/strict";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { JobEventBody } from "../../../contract/job.ts";
import { Database } from "../../../core/store/database.ts";
import { Store } from "../../../core/store/store.ts";
import { temporaryFolder } from "../folder.ts";

function message(text: string): JobEventBody {
  return { type: "message", level: "info", code: "phase", text, data: {} };
}

Deno.test("events are numbered from 1 within their job, without gaps", () => {
  using folder = temporaryFolder();
  const store = Store.open(folder.path, null);
  for (const id of ["a", "b"]) store.jobs.insert({ id, kind: "train", plan: {}, place: null });
  for (const id of ["a", "b", "a", "a", "b"]) store.events.append(id, message(id));
  deepStrictEqual(store.events.events("a", 0, 10).map(({ sequence }) => sequence), [1, 2, 3]);
  deepStrictEqual(store.events.events("b", 1, 10).map(({ sequence }) => sequence), [2]);
  store.close();
});

Deno.test("an event can be neither changed nor removed", () => {
  using folder = temporaryFolder();
  const store = Store.open(folder.path, null);
  store.jobs.insert({ id: "a", kind: "train", plan: {}, place: null });
  store.events.append("a", message("x"));
  store.close();
  const database = new DatabaseSync(join(folder.path, "bullion.db"));
  throws(() => database.exec("UPDATE events SET type = 'queued'"), /append-only/);
  throws(() => database.exec("DELETE FROM events"), /append-only/);
  database.close();
});

Deno.test("a removed checkpoint is no longer listed, a written one stands once", () => {
  using folder = temporaryFolder();
  const store = Store.open(folder.path, null);
  store.jobs.insert({ id: "a", kind: "train", plan: {}, place: null });
  const checkpoint = (step: number) =>
    store.events.append("a", {
      type: "checkpoint",
      step,
      epoch: 1,
      path: `/c/${step}`,
      metrics: {},
    });
  [10, 20, 20, 30].forEach(checkpoint);
  store.events.append("a", { type: "checkpoint_removed", step: 10, path: "/c/10" });
  deepStrictEqual(store.events.checkpoints("a").map(({ step }) => step), [30, 20]);
  store.close();
});

for (const order of ["asc", "desc"] as const) {
  Deno.test(`pages in order ${order} show every entry once`, () => {
    using folder = temporaryFolder();
    const store = Store.open(folder.path, null);
    const ids = Array.from({ length: 7 }, (_, i) => `file-${i}`);
    for (const id of ids) {
      store.files.put({ id, filename: id, purpose: "fine-tune", bytes: 1, blob: "x" });
    }
    const seen: string[] = [];
    let after: string | undefined;
    for (;;) {
      const { data, has_more, last_id } = store.files.page(
        { order, limit: 3, after },
        (row) => row,
      );
      seen.push(...data.map(({ id }) => id));
      if (!has_more) break;
      after = last_id!;
    }
    deepStrictEqual(seen, order === "asc" ? ids : ids.toReversed());
    store.close();
  });
}

Deno.test("a page after an entry that is not there is refused", () => {
  using folder = temporaryFolder();
  const store = Store.open(folder.path, null);
  throws(() => store.files.page({ after: "file-x" }, (row) => row), { code: "cursor_not_found" });
  store.close();
});

Deno.test("half a transaction leaves nothing", () => {
  using folder = temporaryFolder();
  const store = Store.open(folder.path, null);
  throws(() =>
    store.transaction(() => {
      store.jobs.insert({ id: "a", kind: "train", plan: {}, place: null });
      throw new Error("power cut");
    }), /power cut/);
  equal(store.jobs.find("a"), undefined);
  store.close();
});

Deno.test("a folder of a newer version is refused by name", () => {
  using folder = temporaryFolder();
  Store.open(folder.path, null).close();
  const database = new DatabaseSync(join(folder.path, "bullion.db"));
  database.exec("PRAGMA user_version = 1000");
  database.close();
  throws(() => Store.open(folder.path, null), { code: "data_folder_too_new" });
});

Deno.test("a full disk under the database is named, and the rows before it stay", () => {
  using folder = temporaryFolder();
  const database = new Database(join(folder.path, "bullion.db"));
  database.run("INSERT INTO jobs VALUES ('a', 'train', '{}', NULL, 0)");
  const { page_count } = database.get<{ page_count: number }>("PRAGMA page_count")!;
  database.get(`PRAGMA max_page_count = ${page_count}`);
  const plan = "x".repeat(100_000);
  throws(
    () => database.run("INSERT INTO jobs VALUES ('b', 'train', ?, NULL, 0)", plan),
    { code: "disk_full" },
  );
  deepStrictEqual(database.all("SELECT id FROM jobs").map(({ id }) => id), ["a"]);
  database.close();
});
