/**
 * The main job on real input: the reference project's own files, byte for byte, with curl.
 *
 * The full training of 1,230 steps is a run by hand; here a line `max_steps: 10` is added to the YAML.
 */
import assert from "node:assert/strict";
import type { ExportJob, FineTuningJob } from "../../contract/job.ts";
import { sharedPath, sharedTest } from "../shared_data.ts";
import { run } from "./project.ts";
import { RunningService } from "./service.ts";

const reference = "data/reference";
const DATA = `${reference}/datasets_finance.json`;
const yamlType = ["-H", "Content-Type: application/yaml"];

let service: RunningService;

async function curl(path: string, ...options: string[]): Promise<Record<string, unknown>> {
  const { code, stdout, stderr } = await run("curl", [
    "-sS",
    "--fail-with-body",
    ...options,
    service.url + path,
  ]);
  assert.equal(code, 0, stdout + stderr);
  return JSON.parse(stdout);
}

sharedTest(
  "the 977 records go in by curl --data-binary, whatever type curl gives them",
  DATA,
  async () => {
    service = await RunningService.start();
    const body = ["--data-binary", `@${sharedPath(DATA)}`];
    const stored = await curl("/v1/datasets?name=datasets_finance", ...body);
    assert.equal(stored.records, 977);
  },
);

sharedTest("the training YAML runs, and leaves what LLaMA-Factory leaves", DATA, async () => {
  const yaml = await Deno.readTextFile(sharedPath(`${reference}/train_llama3_lora_sft.yaml`));
  const file = `${service.folder}/train.yaml`;
  await Deno.writeTextFile(file, `${yaml}\nmax_steps: 10\n`);
  const created = await curl("/v1/fine_tuning/jobs", ...yamlType, "--data-binary", `@${file}`);
  const job = await service.job<FineTuningJob>(String(created.id));
  assert.equal(job.status, "succeeded", JSON.stringify(job.error));

  const output = `${service.folder}/saves/llama3-8b/lora/sft`;
  const left = new Set(Array.from(Deno.readDirSync(output), ({ name }) => name));
  const wanted = [
    "adapter_model.safetensors",
    "adapter_config.json",
    "tokenizer.json",
    "trainer_log.jsonl",
    "trainer_state.json",
    "train_results.json",
    "all_results.json",
    "training_loss.png",
    "checkpoint-10",
  ];
  assert.deepEqual(wanted.filter((name) => !left.has(name)), []);
  const last = (await Deno.readTextFile(`${output}/trainer_log.jsonl`)).trim().split("\n").at(-1);
  const { current_steps, total_steps, loss } = JSON.parse(last!);
  assert.deepEqual([current_steps, total_steps, typeof loss], [10, 10, "number"]);
  const events = await service.events(job.id);
  const said = events.map(({ message }) => message).join("\n");
  assert.match(
    said,
    /LLM-Research\/Meta-Llama-3-8B-Instruct resolved to .*embedded base.* because/,
  );
  assert.match(said, /bf16/);
});

sharedTest(
  "the merge YAML gives a verified model in shards under its export_dir",
  DATA,
  async () => {
    const file = sharedPath(`${reference}/merge_llama3_lora_sft.yaml`);
    const created = await curl("/v1/exports", ...yamlType, "--data-binary", `@${file}`);
    const job = await service.job<ExportJob>(String(created.id));
    assert.equal(job.status, "succeeded", JSON.stringify(job.error));
    assert.equal(job.result?.top1_agreement, 1);
    const output = Array.from(
      Deno.readDirSync(`${service.folder}/output/llama3_lora_sft`),
      ({ name }) => name,
    );
    for (const name of ["config.json", "generation_config.json", "tokenizer.json"]) {
      assert.ok(output.includes(name), name);
    }
    assert.ok(output.some((name) => /^model.*\.safetensors$/.test(name)));
  },
);

sharedTest("the merged model answers under its export_dir as `model`", DATA, async () => {
  const answer = await service.answer("output/llama3_lora_sft", "什么是净利润？");
  assert.equal(answer.model, "output/llama3_lora_sft");
  assert.equal(answer.choices[0].message.role, "assistant");
  assert.ok(answer.usage.completion_tokens > 0);
  await service.end("SIGTERM");
});
