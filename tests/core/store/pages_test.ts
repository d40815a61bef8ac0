// Lists page as OpenAI's: how many by default, after what, and which jobs a filter leaves.
import { deepStrictEqual, equal, throws } from "node:assert/strict";
import { Store } from "../../../core/store/store.ts";
import { temporaryFolder } from "../folder.ts";

const same = <T>(row: T) => row;

class Rows implements Disposable {
  readonly #folder = temporaryFolder();
  readonly store = Store.open(this.#folder.path, null);

  job(id: string, metadata: Record<string, string> | null = null): void {
    this.store.jobs.insert({ id, kind: "train", plan: { request: { metadata } }, place: null });
  }

  checkpoint(job: string, step: number): void {
    const path = `/c/${step}`;
    this.store.events.append(job, { type: "checkpoint", step, epoch: 1, path, metrics: {} });
  }

  jobs(metadata: Record<string, string> | null): string[] {
    return this.store.jobs.page("train", { metadata }, same).data.map(({ id }) => id);
  }

  [Symbol.dispose](): void {
    this.store.close();
    this.#folder[Symbol.dispose]();
  }
}

Deno.test("without a limit a page holds 20 jobs and events, 10 checkpoints, and every file", () => {
  using rows = new Rows();
  const { store } = rows;
  for (let i = 0; i < 25; i++) rows.job(`j${i}`);
  for (let step = 1; step <= 25; step++) rows.checkpoint("j0", step);
  for (let i = 0; i < 25; i++) {
    store.files.put({ id: `f${i}`, filename: "f", purpose: "fine-tune", bytes: 1, blob: "x" });
  }
  const pages = [
    store.jobs.page("train", {}, same),
    store.events.eventPage("j0", {}, same),
    store.events.checkpointPage("j0", {}, same),
    store.files.page({}, same),
  ];
  deepStrictEqual(pages.map(({ data, has_more }) => [data.length, has_more]), [
    [20, true],
    [20, true],
    [10, true],
    [25, false],
  ]);
  equal(store.events.checkpointPage("j0", {}, same).data[0]!.step, 25);
});

Deno.test("a page that holds the last entry has no more after it", () => {
  using rows = new Rows();
  for (const id of ["a", "b", "c"]) rows.job(id);
  const { has_more, last_id } = rows.store.jobs.page("train", { limit: 2 }, same);
  deepStrictEqual([has_more, last_id], [true, "b"]);
  const rest = rows.store.jobs.page("train", { limit: 1, after: "b" }, same);
  deepStrictEqual([rest.data.map(({ id }) => id), rest.has_more], [["a"], false]);
});

Deno.test("an entry of another list is none to go on after", () => {
  using rows = new Rows();
  const { store } = rows;
  rows.job("a");
  rows.job("b");
  rows.checkpoint("b", 1);
  const { id } = store.events.checkpointPage("b", {}, same).data[0]!;
  throws(() => store.events.checkpointPage("a", { after: id }, same), { code: "cursor_not_found" });
  throws(() => store.jobs.page("export", { after: "a" }, same), { code: "cursor_not_found" });
  const [event] = store.events.eventPage("b", {}, same).data;
  throws(() => store.events.eventPage("a", { after: event!.id }, same), {
    code: "cursor_not_found",
  });
});

Deno.test("jobs are filtered by all pairs of their metadata, or by having none", () => {
  using rows = new Rows();
  rows.job("none");
  rows.job("one", { team: "a" });
  rows.job("two", { team: "a", 'it\'s "x"': "1" });
  rows.job("other", { team: "b" });
  deepStrictEqual(rows.jobs({ team: "a" }), ["two", "one"]);
  deepStrictEqual(rows.jobs({ team: "a", 'it\'s "x"': "1" }), ["two"]);
  deepStrictEqual(rows.jobs({ team: "c" }), []);
  deepStrictEqual(rows.jobs(null), ["none"]);
});
