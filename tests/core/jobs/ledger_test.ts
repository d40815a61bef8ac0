// Following a job: every event once and in order, whenever one comes in.
import { deepStrictEqual, equal, throws } from "node:assert/strict";
import type { JobEvent } from "../../../contract/job.ts";
import { Ledger } from "../../../core/jobs/ledger.ts";
import { Store } from "../../../core/store/store.ts";
import { temporaryFolder } from "../folder.ts";

function ledgerIn(folder: string) {
  const store = Store.open(folder, null);
  store.jobs.insert({ id: "a", kind: "train", plan: {}, place: null });
  const ledger = new Ledger(store.events);
  ledger.append("a", { type: "created", kind: "train" });
  ledger.append("a", { type: "queued", why: "" });
  return { store, ledger };
}

const never = new AbortController().signal;
const numbers = (events: JobEvent[]) => events.map(({ sequence }) => sequence);

Deno.test("a reader that leaves and comes back with its last number misses and repeats nothing", async () => {
  using folder = temporaryFolder();
  const { store, ledger } = ledgerIn(folder.path);
  const writing = (async () => {
    for (let i = 0; i < 40; i++) {
      ledger.note("a", "info", "c", String(i));
      if (i % 3 === 0) await new Promise((resolve) => setTimeout(resolve));
    }
    ledger.append("a", { type: "cancelled" });
  })();
  const seen: JobEvent[] = [];
  while (seen.at(-1)?.body.type !== "cancelled") {
    const leaving = new AbortController();
    for await (const event of ledger.tail("a", seen.at(-1)?.sequence ?? 0, leaving.signal)) {
      seen.push(event);
      if (seen.length % 7 === 0) leaving.abort();
    }
  }
  await writing;
  deepStrictEqual(numbers(seen), Array.from({ length: 43 }, (_, i) => i + 1));
  store.close();
});

Deno.test("what is appended while a reader waits reaches it", async () => {
  using folder = temporaryFolder();
  const { store, ledger } = ledgerIn(folder.path);
  const reader = ledger.tail("a", 2, never)[Symbol.asyncIterator]();
  const waiting = reader.next();
  await new Promise((resolve) => setTimeout(resolve, 5));
  ledger.note("a", "info", "c", "late");
  equal((await waiting).value?.sequence, 3);
  await reader.return!(undefined);
  store.close();
});

Deno.test("a reader of an ended job gets its history and the end", async () => {
  using folder = temporaryFolder();
  const { store, ledger } = ledgerIn(folder.path);
  ledger.append("a", { type: "cancelled" });
  deepStrictEqual(numbers(await Array.fromAsync(ledger.tail("a", 1, never))), [2, 3]);
  store.close();
});

Deno.test("a reader that waits is let go when its signal aborts", async () => {
  using folder = temporaryFolder();
  const { store, ledger } = ledgerIn(folder.path);
  const leaving = new AbortController();
  const reading = Array.fromAsync(ledger.tail("a", 0, leaving.signal));
  setTimeout(() => leaving.abort(), 5);
  deepStrictEqual(numbers(await reading), [1, 2]);
  store.close();
});

Deno.test("an event that may not follow is a fault of the program, not a row", () => {
  using folder = temporaryFolder();
  const { store, ledger } = ledgerIn(folder.path);
  throws(() => ledger.append("a", { type: "succeeded", model: "m", result: {} }), /queued/);
  equal(store.events.events("a", 0, 10).length, 2);
  store.close();
});

Deno.test("a second ledger over the same rows folds the same state", () => {
  using folder = temporaryFolder();
  const { store, ledger } = ledgerIn(folder.path);
  ledger.append("a", { type: "started", attempt: 1, resume_from: null, resume_step: null });
  ledger.append("a", { type: "stop_requested", how: "pause" });
  deepStrictEqual(new Ledger(store.events).state("a"), ledger.state("a"));
  store.close();
});

Deno.test("how a job failed is written as soon as a full disk has room again", async () => {
  using folder = temporaryFolder();
  const { store, ledger } = ledgerIn(folder.path);
  const append = store.events.append.bind(store.events);
  let refusals = 1;
  store.events.append = (id, body) => {
    if (refusals-- > 0) throw new Error("disk full");
    return append(id, body);
  };
  const error = { code: "disk_full", message: "m", param: null };
  await ledger.fail("a", error, () => false);
  equal(ledger.state("a").error?.code, "disk_full");
  equal(store.events.events("a", 0, 10).length, 3);
  store.close();
});
