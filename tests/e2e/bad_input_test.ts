/** What users get wrong: each answer says what, which value and what to do; nothing is lost or left. */
import assert from "node:assert/strict";
import type { FineTuningJob } from "../../contract/job.ts";
import { encryptedPdf, writePdf } from "../core/documents/written_pdf.ts";
import { root } from "./project.ts";
import { RunningService } from "./service.ts";

const service = await RunningService.start();
const bytes = (text: string) => new TextEncoder().encode(text);
const good = { messages: [{ role: "user", content: "问" }, { role: "assistant", content: "答" }] };
const lines = (count: number, put: Record<number, string> = {}) =>
  Array.from({ length: count }, (_, i) => put[i + 1] ?? JSON.stringify(good)).join("\n") + "\n";

const recipe = (more: Record<string, unknown> = {}) =>
  JSON.stringify({
    model_name_or_path: "bullion-tiny",
    stage: "sft",
    do_train: true,
    finetuning_type: "lora",
    lora_target: "all",
    dataset: "good",
    template: "llama3",
    max_steps: 1,
    ...more,
  });

/** Sends it; the message must name everything in `says`. */
async function refused(path: string, body: unknown, code: string, ...says: RegExp[]) {
  const refusal = await service.refusal(path, body);
  assert.equal(refusal.code, code, refusal.message);
  for (const what of says) assert.match(refusal.message, what);
  return refusal;
}

Deno.test("a data set with a broken line 17 is refused by that line", async () => {
  const broken = lines(20, { 17: '{"messages": [{"role": "user", "content": "问"' });
  await refused("/v1/datasets?name=bad", bytes(broken), "invalid_dataset", /line 17/);
});

Deno.test("a data set in alpaca's form with a broken line 17 is refused by that line", async () => {
  const rows = Array.from({ length: 20 }, () => '{"instruction": "问", "output": "答"}');
  rows[15] = '{"instruction": "问", "output": 答}';
  const text = `[\n${rows.join(",\n")}\n]\n`;
  await refused("/v1/datasets?name=bad", bytes(text), "invalid_dataset", /line 17/);
});

Deno.test("a data set with a record without an assistant turn says which", async () => {
  const record = JSON.stringify({ messages: [{ role: "user", content: "问" }] });
  const text = lines(20, { 17: record });
  await refused("/v1/datasets?name=bad", bytes(text), "invalid_dataset", /line 17/, /assistant/);
});

Deno.test("an empty data set is refused, whichever way it is empty", async () => {
  await refused("/v1/datasets?name=bad", bytes("[]"), "empty_dataset", /no record/);
  await refused("/v1/datasets?name=bad", bytes("  \n"), "empty_dataset");
  assert.equal((await service.send("/v1/datasets?name=bad", bytes(""))).status, 400);
});

Deno.test("a data set in another encoding is refused by the line where it shows", async () => {
  const head = bytes(lines(16));
  const gbk = [0xbe, 0xbb, 0xc0, 0xfb, 0xc8, 0xf3]; // 净利润
  const text = Uint8Array.from([...head, ...bytes('{"messages": "'), ...gbk, ...bytes('"}\n')]);
  await refused("/v1/datasets?name=bad", text, "wrong_encoding", /line 17/, /UTF-8/);
});

Deno.test("what was refused left nothing, and what was there stays", async () => {
  await service.upload("good", lines(20));
  await refused("/v1/datasets?name=good", bytes("[]"), "empty_dataset");
  const { data } = await service.get<{ data: { name: string; records: number }[] }>("/v1/datasets");
  assert.deepEqual(data.map(({ name, records }) => [name, records]), [["good", 20]]);
  const stored = await fetch(`${service.url}/v1/datasets/good/content`);
  assert.equal(await stored.text(), lines(20));
  const blobs = Array.from(Deno.readDirSync(`${service.folder}/blobs`)).filter(({ name }) =>
    Array.from(Deno.readDirSync(`${service.folder}/blobs/${name}`)).length > 0
  );
  assert.equal(blobs.length, 1, "a refused upload left its bytes");
});

Deno.test("a training file with a broken line fails its job by that line", async () => {
  const form = new FormData();
  form.append("purpose", "fine-tune");
  form.append("file", new File([lines(20, { 17: "{" })], "train.jsonl"));
  const upload = await fetch(`${service.url}/v1/files`, { method: "POST", body: form });
  const { id } = await upload.json();
  const body = { model: "bullion-tiny", training_file: id };
  const created = await service.post<FineTuningJob>("/v1/fine_tuning/jobs", body);
  const { status, error } = await service.job(created.id);
  assert.equal(status, "failed");
  assert.match(error!.message, /line 17/);
});

Deno.test("an unknown key is refused with its nearest known one, all at once", async () => {
  const body = recipe({ learning_rat: 1e-4, num_train_epoch: 3 });
  await refused(
    "/v1/fine_tuning/jobs",
    body,
    "invalid_recipe",
    /learning_rate/,
    /num_train_epochs/,
  );
});

Deno.test("keys that contradict each other are both named", async () => {
  const body = recipe({ val_size: 0.1, eval_dataset: "good" });
  await refused("/v1/fine_tuning/jobs", body, "invalid_recipe", /val_size/, /eval_dataset/);
});

Deno.test("a YAML that is none is refused with its line", async () => {
  const broken = "dataset: good\ntemplate: [llama3\n";
  await refused("/v1/fine_tuning/jobs", broken, "invalid_recipe", /line [23]/);
});

Deno.test("a model that does not exist is refused by its name, for chat and for training", async () => {
  const messages = [{ role: "user", content: "问" }];
  const chat = await refused(
    "/v1/chat/completions",
    { model: "output/none/here", messages },
    "model_not_found",
    /output\/none\/here/,
  );
  assert.deepEqual([chat.status, chat.param], [404, "model"]);
  const body = recipe({ model_name_or_path: "./none" });
  const job = await refused("/v1/fine_tuning/jobs", body, "model_not_found", /\.\/none/);
  assert.equal(job.param, "model_name_or_path");
});

Deno.test("a file, a data set and a job that do not exist are refused by their names", async () => {
  const body = { model: "bullion-tiny", training_file: "file-none" };
  await refused("/v1/fine_tuning/jobs", body, "file_not_found", /file-none/);
  await refused("/v1/fine_tuning/jobs", recipe({ dataset: "goood" }), "dataset_not_found", /goood/);
  for (
    const [path, code] of [["fine_tuning/jobs/ftjob-none", "job"], ["files/file-none", "file"]]
  ) {
    const response = await fetch(`${service.url}/v1/${path}`);
    assert.equal(response.status, 404);
    assert.equal((await response.json()).error.code, `${code}_not_found`);
  }
});

Deno.test("a PDF that cannot be read is refused with the reason and the way out", async () => {
  const report = await Deno.readFile(`${root}/examples/data/sample_report.pdf`);
  const scan = writePdf([{ boxes: [[50, 50, 400, 600]] }]);
  const path = "/v1/documents?name=report.pdf";
  await refused(path, encryptedPdf(), "pdf_encrypted", /report\.pdf/, /password/);
  await refused(path, report.slice(0, 30_000), "pdf_truncated", /30000 bytes/);
  await refused(path, scan, "pdf_no_text", /OCR/);
  await refused(path, bytes("PK\x03\x04 a docx"), "not_a_pdf", /PDF/);
  assert.equal((await service.send(path, new Uint8Array())).status, 400);
  const { data } = await service.get<{ data: unknown[] }>("/v1/documents");
  assert.deepEqual(data, []);
});

Deno.test("a path that leaves the data folder is refused, whichever way it goes", async () => {
  await Deno.symlink("/", `${service.folder}/way_out`);
  const ways = ["../elsewhere", "a/../../b", "/etc/output", "way_out/elsewhere"];
  for (const way of ways) {
    const code = "path_outside_data_folder";
    const body = recipe({ output_dir: way });
    const refusal = await refused("/v1/fine_tuning/jobs", body, code, /data folder/);
    assert.equal(refusal.param, "output_dir");
    assert.ok(refusal.message.includes(way), refusal.message);
    const merge = { model_name_or_path: "bullion-tiny", adapter_name_or_path: way };
    await refused("/v1/exports", { ...merge, template: "llama3", export_dir: "output/a" }, code);
    const messages = [{ role: "user", content: "问" }];
    await refused("/v1/chat/completions", { model: way, messages }, code);
    await refused("/v1/fine_tuning/jobs", recipe({ dataset_dir: way }), code);
  }
});

Deno.test("the service's own folder is no place for an output", async () => {
  for (const name of ["jobs/mine", "blobs", "bullion.db"]) {
    const body = recipe({ output_dir: name });
    await refused("/v1/fine_tuning/jobs", body, "output_name_reserved", new RegExp(name));
  }
});

Deno.test("a second unfinished job with the same output folder is refused, and says whose it is", async () => {
  const long = recipe({ output_dir: "saves/same", max_steps: 100_000 });
  const first = await service.post<FineTuningJob>("/v1/fine_tuning/jobs", long);
  const code = "output_name_in_use";
  const refusal = await refused("/v1/fine_tuning/jobs", long, code, new RegExp(first.id));
  assert.deepEqual([refusal.status, refusal.param], [409, "output_dir"]);
  const cancelled = await service.post<FineTuningJob>(
    `/v1/fine_tuning/jobs/${first.id}/cancel`,
    {},
  );
  assert.equal(cancelled.status, "cancelled");
  const again = await service.post<FineTuningJob>("/v1/fine_tuning/jobs", long);
  await service.post(`/v1/fine_tuning/jobs/${again.id}/cancel`, {});
});

Deno.test("a prompt longer than the context is refused with both lengths", async () => {
  const messages = [{ role: "user", content: "净利润".repeat(3_000) }];
  const body = { model: "bullion-tiny", messages };
  const code = "context_length_exceeded";
  await refused("/v1/chat/completions", body, code, /\d{4,} tokens/, /\b2048\b/);
});

Deno.test("strings of control tokens in a user's text stay text", async () => {
  const count = async (content: string) =>
    (await service.answer("bullion-tiny", content, { max_tokens: 1 })).usage.prompt_tokens;
  const plain = await count("问");
  const forged = await count("问<|eot_id|>");
  assert.ok(forged - plain > 1, `<|eot_id|> became ${forged - plain} token`);
  // Not the bare name: that is how clients look up a control token's id.
  const asked = { model: "bullion-tiny", prompt: "问<|eot_id|>", add_special_tokens: false };
  const { tokens } = await service.post<{ tokens: number[] }>("/tokenize", asked);
  assert.ok(tokens.length > 2);
  const back = await service.post<{ prompt: string }>("/detokenize", {
    model: "bullion-tiny",
    tokens,
  });
  assert.equal(back.prompt, "问<|eot_id|>");
});

Deno.test("schemas that answers cannot obey are refused with the reason, however deep they are", async () => {
  const asked = (schema: unknown) => ({
    model: "bullion-tiny",
    messages: [{ role: "user", content: "问" }],
    response_format: { type: "json_schema", json_schema: { name: "a", schema } },
  });
  const ask = (schema: unknown, ...says: RegExp[]) =>
    refused("/v1/chat/completions", asked(schema), "invalid_json_schema", ...says);
  const properties = { a: { $ref: "#" } };
  await ask({ type: "object", properties, required: ["a"] }, /no finite value can obey it/);
  await ask({ type: "integer", minimum: 1e30 }, /1e\+30/);
  await ask({ const: "\ud800" }, /half a character/);
  for (const depth of [200, 1000]) {
    const deep = JSON.parse('{"items":'.repeat(depth) + "{}" + "}".repeat(depth));
    await ask(deep, /nested too deeply/);
  }
});
