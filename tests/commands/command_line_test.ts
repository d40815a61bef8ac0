/** Commands as a user types them, in a folder of theirs, with paths relative to it. */
import assert from "node:assert/strict";
import { command, root } from "../e2e/project.ts";
import { RunningService } from "../e2e/service.ts";
import { recipe, records } from "../e2e/training.ts";

const folder = await Deno.makeTempDir({ prefix: "bullion-commands-" });
addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));
const tiny = ["--models", `${root}/configs/models.tiny.yaml`];

const special = "问<|eot_id|>答";
const data = JSON.parse(records) as Record<string, string>[];
data[3] = { instruction: special, output: "答" };

await Deno.mkdir(`${folder}/data`);
await Deno.writeTextFile(`${folder}/data/quarters.json`, JSON.stringify(data));
const info = { quarters: { file_name: "quarters.json" } };
await Deno.writeTextFile(`${folder}/data/dataset_info.json`, JSON.stringify(info));
await Deno.writeTextFile(`${folder}/train.yaml`, recipe({ output_dir: "saves/sft" }));
const merge = { model_name_or_path: "bullion-tiny", template: "llama3" };
const adapter = { adapter_name_or_path: "saves/sft" };
const write = (name: string, keys: unknown) =>
  Deno.writeTextFile(`${folder}/${name}`, JSON.stringify(keys));
await write("export.yaml", { ...merge, ...adapter, export_dir: "output/merged" });
await write("chat.yaml", { model_name_or_path: "output/merged", template: "llama3" });

async function typed(name: Parameters<typeof command>[0], ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await command(name, args, folder);
  assert.equal(code, 0, stdout + stderr);
  return stdout;
}

Deno.test("train FILE.yaml trains into the folder where it was typed", async () => {
  const stdout = await typed("train", "train.yaml", ...tiny);
  assert.match(stdout, /Adapter: +saves\/sft\nModel: +ft:bullion-tiny::ftjob-/);
  const where =
    /\nsaves\/sft is a link to (\S+): copy it with cp -rL, deleting that folder deletes it\n$/;
  assert.equal(where.exec(stdout)?.[1], await Deno.realPath(`${folder}/saves/sft`));
  assert.ok((await Deno.stat(`${folder}/saves/sft/adapter_model.safetensors`)).isFile);
  assert.ok((await Deno.stat(`${folder}/.bullion`)).isDirectory);
});

Deno.test("export FILE.yaml merges what was trained there", async () => {
  const stdout = await typed("export", "export.yaml", ...tiny);
  assert.match(stdout, /Model: +output\/merged\n/);
  assert.match(stdout, /top1_agreement: 1\n/);
  assert.match(stdout, /\noutput\/merged is a link to \S+\/merged: copy it with cp -rL, [^\n]+\n$/);
  assert.ok((await Deno.stat(`${folder}/output/merged/config.json`)).isFile);
});

Deno.test("chat FILE.yaml --ask answers once on standard output", async () => {
  const stdout = await typed("chat", "chat.yaml", "--ask", "第1季度的营业收入是多少？", ...tiny);
  assert.ok(stdout.trim().length > 0);
});

Deno.test("template --json shows ids and labels, and no forged control token", async () => {
  const stdout = await typed("template", "train.yaml", "--json", ...tiny);
  const rows = stdout.trim().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(rows.map(({ index }) => index), data.map((_, i) => i));
  for (const { input_ids, labels } of rows) {
    assert.equal(input_ids.length, labels.length);
    // Every record ends with <|eot_id|>, and holds it once more: after the question.
    const end = input_ids.at(-1);
    assert.equal(input_ids.filter((token: number) => token === end).length, 2);
    const trained = labels.filter((label: number) => label !== -100);
    assert.deepEqual(trained, input_ids.slice(-trained.length));
  }
});

Deno.test("template --record N shows that record in colour", async () => {
  const stdout = await typed("template", "train.yaml", "--record", "3", ...tiny);
  assert.match(stdout, /^record 3: \d+ tokens, \d+ trained\n/);
  assert.ok(stdout.includes(special) && stdout.includes("\x1b[32m答"));
});

Deno.test("doctor says what this machine has", async () => {
  const stdout = await typed("doctor", ...tiny);
  assert.match(stdout, /✓ Deno 2\./);
  assert.match(stdout, /✓ torch 2\./);
});

Deno.test("a mistake ends with one sentence and an exit code, not with a trace", async () => {
  const none = await command("train", ["none.yaml", ...tiny], folder);
  assert.equal(none.code, 1);
  assert.match(none.stderr, /Cannot read none\.yaml: .*\[file_not_found\]\n$/);
  const extra = await command("train", ["train.yaml", "--epochs", "3"], folder);
  assert.equal(extra.code, 2);
  assert.match(extra.stderr, /--epochs/);
  const known = await command("doctor", ["--help"], folder);
  assert.deepEqual([known.code, /deno task doctor/.test(known.stdout)], [0, true]);
});

Deno.test("an address that the service may not listen on is refused with those that it may", async () => {
  await write("keys.yaml", { api_keys: ["key"] });
  const args = ["--host", "192.0.2.7", "--port", "0", "--config", "keys.yaml", ...tiny];
  const { code, stderr } = await command("serve", args, folder);
  assert.equal(code, 1);
  assert.match(stderr, /192\.0\.2\.7.* 0\.0\.0\.0 .*--host \[address_not_usable\]/);
});

Deno.test("while a service holds the data folder, a command hands its job over with its directory", async () => {
  const service = await RunningService.start();
  await Deno.writeTextFile(`${folder}/held.yaml`, recipe({ output_dir: "saves/held" }));
  const args = ["held.yaml", "--data", service.folder, ...tiny];
  const { code, stdout, stderr } = await command("train", args, folder);
  assert.equal(code, 0, stdout + stderr);
  assert.match(stderr, new RegExp(`held by the service on ${service.url}: the job goes there`));
  const { data: jobs } = await service.get<{ data: { output_dir: string; status: string }[] }>(
    "/v1/fine_tuning/jobs",
  );
  assert.deepEqual(jobs.map(({ output_dir, status }) => [output_dir, status]), [
    ["saves/held", "succeeded"],
  ]);
  // Data, base and output are those of the directory, as without the service.
  assert.match(stdout, /Adapter: +saves\/held\n/);
  assert.ok((await Deno.stat(`${folder}/saves/held/adapter_model.safetensors`)).isFile);
  await write("held_export.yaml", {
    ...merge,
    adapter_name_or_path: "saves/held",
    export_dir: `${folder}/output/held`,
  });
  const merged = await command("export", ["held_export.yaml", ...args.slice(1)], folder);
  assert.equal(merged.code, 0, merged.stdout + merged.stderr);
  assert.ok((await Deno.stat(`${folder}/output/held/config.json`)).isFile);
  await service.end("SIGTERM");
});
