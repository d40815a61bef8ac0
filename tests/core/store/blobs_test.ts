// Uploaded bytes are there whole or not at all.
import { deepStrictEqual, equal, rejects } from "node:assert/strict";
import { join } from "node:path";
import { Blobs } from "../../../core/store/blobs.ts";
import { Store } from "../../../core/store/store.ts";
import { streamOf, temporaryFolder } from "../folder.ts";

const ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"; // of "abc"

function filesBelow(folder: string): string[] {
  return Array.from(Deno.readDirSync(folder)).flatMap((entry) =>
    entry.isDirectory ? filesBelow(join(folder, entry.name)) : [entry.name]
  );
}

Deno.test("a blob is found under the hash of its content, however it was cut", async () => {
  using folder = temporaryFolder();
  const blobs = new Blobs(folder.path);
  using blob = await blobs.put(streamOf("a", "b", "c"), 3);
  deepStrictEqual([blob.sha256, blob.bytes], [ABC, 3]);
  equal(await blobs.text(ABC), "abc");
});

Deno.test("an upload over the limit is refused and leaves nothing", async () => {
  using folder = temporaryFolder();
  const blobs = new Blobs(folder.path);
  await rejects(blobs.put(streamOf("abc", "d"), 3), { code: "file_too_large" });
  deepStrictEqual(filesBelow(folder.path), []);
});

Deno.test("a full disk is named, and what was saved before stays", async () => {
  using folder = temporaryFolder();
  const good = new Blobs(folder.path);
  (await good.put(streamOf("abc"), 3))[Symbol.dispose]();
  // As Deno reports it; tests/e2e/full_disk_test.ts has a disk that is full.
  const fault = Object.assign(new Error("No space left on device"), { code: "ENOSPC" });
  const file = { write: () => Promise.reject(fault), [Symbol.dispose]() {} };
  const full = new Blobs(folder.path, () => Promise.resolve(file as unknown as Deno.FsFile));
  await rejects(full.put(streamOf("more"), 100), { code: "disk_full" });
  equal(await good.text(ABC), "abc");
});

Deno.test("an upload that breaks off leaves nothing", async () => {
  using folder = temporaryFolder();
  const broken = new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(new Uint8Array(10)),
    pull: (controller) => controller.error(new Error("connection reset")),
  });
  await rejects(new Blobs(folder.path).put(broken, 100), /connection reset/);
  deepStrictEqual(filesBelow(folder.path), []);
});

Deno.test("a crash between blob and row leaves no blob after the next start", async () => {
  using folder = temporaryFolder();
  const before = Store.open(folder.path, null);
  const kept = await before.blobs.put(streamOf("abc"), 3);
  before.files.put({ id: "f", filename: "a", purpose: "fine-tune", bytes: 3, blob: kept.sha256 });
  await before.blobs.put(streamOf("no row"), 100);
  Deno.writeTextFileSync(join(folder.path, "blobs", "partial-x"), "half");
  before.close();

  const after = Store.open(folder.path, null);
  deepStrictEqual(filesBelow(join(folder.path, "blobs")), [ABC]);
  after.close();
});

Deno.test("a deletion does not take bytes that somebody is storing again", async () => {
  using folder = temporaryFolder();
  const store = Store.open(folder.path, null);
  const held = await store.blobs.put(streamOf("abc"), 3);
  await store.forgetBlobs(ABC);
  equal(await store.blobs.text(ABC), "abc");
  held[Symbol.dispose]();
  await store.forgetBlobs(ABC);
  await rejects(store.blobs.text(ABC), Deno.errors.NotFound);
  store.close();
});
