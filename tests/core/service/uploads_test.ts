// Files, data sets and documents: checked before they count, whole when they come back.
import { deepStrictEqual, equal, ok, rejects, throws } from "node:assert/strict";
import { join } from "node:path";
import { streamOf } from "../folder.ts";
import { Bench, RECORDS } from "../jobs/room.ts";

async function textOf(stream: ReadableStream<Uint8Array>): Promise<string> {
  return await new Response(stream).text();
}

function blobsOf(bench: Bench): string[] {
  const folder = join(bench.data, "blobs");
  return Array.from(Deno.readDirSync(folder)).flatMap((entry) =>
    entry.isDirectory
      ? Array.from(Deno.readDirSync(join(folder, entry.name)), ({ name }) => name)
      : [entry.name]
  );
}

Deno.test("a file comes back as it was sent and is listed by its purpose", async () => {
  await using bench = await Bench.open();
  const { files } = bench.service;
  const file = await files.create(streamOf("a\n", "b\n"), "x.jsonl", "fine-tune");
  equal(await textOf(await files.content(file.id)), "a\nb\n");
  deepStrictEqual(files.list({ purpose: "fine-tune" }).data, [file]);
  deepStrictEqual(files.list({ purpose: "evals" }).data, []);
});

Deno.test("two files with the same bytes: deleting one leaves the other whole", async () => {
  await using bench = await Bench.open();
  const { files } = bench.service;
  const [one, two] = [
    await files.create(streamOf("same"), "1", "evals"),
    await files.create(streamOf("same"), "2", "evals"),
  ];
  await files.delete(one.id);
  throws(() => files.get(one.id), { code: "file_not_found" });
  equal(await textOf(await files.content(two.id)), "same");
  const before = blobsOf(bench).length;
  await files.delete(two.id);
  equal(blobsOf(bench).length, before - 1);
});

Deno.test("an empty file is refused and leaves nothing", async () => {
  await using bench = await Bench.open();
  const before = blobsOf(bench);
  await rejects(bench.service.files.create(streamOf(), "x", "fine-tune"), { code: "file_empty" });
  deepStrictEqual(blobsOf(bench), before);
});

Deno.test("a data set is registered with what was found in it", async () => {
  await using bench = await Bench.open();
  const set = bench.service.datasets.get("pairs");
  deepStrictEqual([set.records, set.report.format], [1, "alpaca"]);
  equal(await textOf(await bench.service.datasets.content("pairs")), RECORDS);
});

Deno.test("a broken data set is refused with its line and leaves nothing, not even by replacing", async () => {
  await using bench = await Bench.open();
  const before = blobsOf(bench);
  const broken = [...Array(16).fill(RECORDS.slice(1, -1)), "{", "{}"].join("\n");
  await rejects(bench.service.datasets.put("pairs", streamOf(broken)), {
    code: "invalid_dataset",
    message: /line 17/,
  });
  deepStrictEqual(blobsOf(bench), before);
  equal(bench.service.datasets.get("pairs").records, 1);
});

Deno.test("a data set under a known name replaces the older one and keeps its id", async () => {
  await using bench = await Bench.open();
  const before = bench.service.datasets.get("pairs");
  const two = `[${RECORDS.slice(1, -1)},${RECORDS.slice(1, -1)}]`;
  const after = await bench.service.datasets.put("pairs", streamOf(two));
  deepStrictEqual([after.id, after.records], [before.id, 2]);
  equal(blobsOf(bench).length, 1);
});

for (const name of ["", "a,b", "a/b", "../x", "a b", ".", "..", "a\u0000b"]) {
  Deno.test(`a data set is not registered as ${JSON.stringify(name)}`, async () => {
    await using bench = await Bench.open();
    const put = bench.service.datasets.put(name, streamOf(RECORDS));
    await rejects(put, { code: "invalid_dataset_name" });
  });
}

Deno.test("a report that is no PDF is refused and leaves nothing", async () => {
  await using bench = await Bench.open();
  const before = blobsOf(bench);
  await rejects(bench.service.documents.create(streamOf("no PDF"), "x.pdf"), {
    name: "BullionError",
  });
  deepStrictEqual(blobsOf(bench), before);
  deepStrictEqual(bench.service.documents.list({}).data, []);
});

Deno.test("what does not exist is refused by its kind", async () => {
  await using bench = await Bench.open();
  const { datasets, documents, jobs, models } = bench.service;
  throws(() => datasets.get("x"), { code: "dataset_not_found" });
  throws(() => documents.get("x"), { code: "document_not_found" });
  throws(() => jobs.getTrain("x"), { code: "job_not_found" });
  throws(() => models.get("x"), { code: "model_not_found" });
});

Deno.test("readiness tells of the engine and the queue", async () => {
  await using bench = await Bench.open();
  const { id } = await bench.train();
  await bench.trainer.next();
  const health = await bench.service.health();
  ok(health.ready);
  deepStrictEqual(health.jobs, { running: id, queued: 0 });
});

for (
  const [state, expected] of [["silent", false], ["failed", false], ["starting", true]] as const
) {
  Deno.test(`with an engine that is ${state} a service is ${expected ? "" : "not "}ready`, async () => {
    await using bench = await Bench.open();
    bench.engine.state = state;
    equal((await bench.service.health()).ready, expected);
  });
}

Deno.test("a service that was closed is not ready and does not fail over it", async () => {
  await using bench = await Bench.open();
  await bench.service.close();
  equal((await bench.service.health()).ready, false);
});
