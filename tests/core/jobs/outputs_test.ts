// One place has one writer, a name never points to less than before, nothing of a user is deleted.
import { deepStrictEqual, equal, ok, rejects } from "node:assert/strict";
import { join } from "node:path";
import { Bench, rest, trainYaml } from "./room.ts";

async function trained(bench: Bench, lines: Record<string, unknown> = {}): Promise<string> {
  const { id } = await bench.train(lines);
  const work = await bench.trainer.next();
  work.checkpoint(5);
  work.finish();
  await bench.until(id, "succeeded");
  return id;
}

Deno.test("a second unfinished job with the same output folder is refused and names the first", async () => {
  await using bench = await Bench.open();
  const { id } = await bench.train();
  await rejects(bench.train({ output_dir: "saves/../saves/one/" }), {
    code: "path_outside_data_folder",
  });
  await rejects(bench.train({ output_dir: "saves//one/" }), (error: Error & { code: string }) => {
    equal(error.code, "output_name_in_use");
    return error.message.includes(id);
  });
});

for (const output_dir of ["saves", "saves/one/deeper"]) {
  Deno.test(`an output at ${output_dir} beside one at saves/one is refused, before and after`, async () => {
    await using bench = await Bench.open();
    const { id } = await bench.train();
    await rejects(bench.train({ output_dir }), { code: "output_name_in_use" });
    (await bench.trainer.next()).finish();
    await bench.until(id, "succeeded");
    await rejects(bench.train({ output_dir }), { code: "output_name_nested" });
  });
}

Deno.test("an output folder is free again when its job has ended", async () => {
  await using bench = await Bench.open();
  const { id } = await bench.train();
  await bench.trainer.next();
  await bench.service.jobs.cancel(id);
  await bench.train();
});

Deno.test("a training into an existing output goes on from its last checkpoint", async () => {
  await using bench = await Bench.open();
  const first = await trained(bench);
  const second = await bench.train();
  const { work } = await bench.trainer.next();
  ok(work.type === "train" && work.spec.resume_from?.endsWith(`${first}/output/checkpoint-5`));
  ok((await bench.messages(second.id)).some((m) => m.startsWith("Goes on from ")));
});

Deno.test("overwrite_output_dir is a new start, and the name then means the newer result", async () => {
  await using bench = await Bench.open();
  const first = await trained(bench);
  const second = await trained(bench, { overwrite_output_dir: true });
  const [, work] = bench.trainer.started;
  ok(work!.work.type === "train" && work!.work.spec.resume_from === null);
  const { adapter } = await bench.service.models.resolve("saves/one", rest);
  equal(adapter, bench.service.jobs.getTrain(second).path);
  ok(Deno.statSync(bench.service.jobs.getTrain(first).path).isDirectory);
});

Deno.test("an output with weights and no checkpoint is refused", async () => {
  await using bench = await Bench.open();
  const { id } = await bench.train();
  (await bench.trainer.next()).finish();
  await bench.until(id, "succeeded");
  await rejects(bench.train(), { code: "output_exists" });
});

Deno.test("a failed job's checkpoints get the name that nothing had, and the next job goes on", async () => {
  await using bench = await Bench.open();
  const { id } = await bench.train();
  const work = await bench.trainer.next();
  work.checkpoint(5);
  work.fail("diverged");
  await bench.until(id, "failed");
  ok(Deno.statSync(join(bench.data, "saves/one/checkpoint-5")).isDirectory);
  await rejects(bench.service.models.resolve("saves/one", rest), { code: "model_not_ready" });
  await bench.train();
  const next = (await bench.trainer.next()).work;
  ok(next.type === "train" && next.spec.resume_from?.endsWith("checkpoint-5"));
});

Deno.test("a failed job does not take a name from a good result", async () => {
  await using bench = await Bench.open();
  const good = await trained(bench);
  const { id } = await bench.train({ overwrite_output_dir: true });
  const work = await bench.trainer.next();
  work.checkpoint(1);
  work.fail("diverged");
  await bench.until(id, "failed");
  const { adapter } = await bench.service.models.resolve("saves/one", rest);
  equal(adapter, bench.service.jobs.getTrain(good).path);
});

Deno.test("a folder that the user had there is moved aside, and an event says where", async () => {
  await using bench = await Bench.open();
  const mine = join(bench.data, "saves/one/notes.txt");
  Deno.mkdirSync(join(mine, ".."), { recursive: true });
  Deno.writeTextFileSync(mine, "mine");
  const id = await trained(bench, { overwrite_output_dir: true });
  const aside = join(bench.data, `saves/one.before-${id}`);
  equal(Deno.readTextFileSync(join(aside, "notes.txt")), "mine");
  ok((await bench.messages(id)).some((m) => m.includes(aside)));
});

Deno.test("on the command line a folder that LLaMA-Factory left is gone on from", async () => {
  await using bench = await Bench.open();
  const left = join(bench.cwd, "saves/one/checkpoint-250");
  Deno.mkdirSync(left, { recursive: true });
  Deno.writeTextFileSync(join(left, "trainer_state.json"), "{}");
  const origin = { kind: "command_line", cwd: bench.cwd } as const;
  await bench.service.jobs.createTrain({ kind: "yaml", text: trainYaml(), origin });
  const { work } = await bench.trainer.next();
  ok(work.type === "train");
  equal(work.spec.resume_from, left);
});

Deno.test("an output of the command line is a link that can be moved", async () => {
  await using bench = await Bench.open();
  const origin = { kind: "command_line", cwd: bench.cwd } as const;
  const { id } = await bench.service.jobs.createTrain({ kind: "yaml", text: trainYaml(), origin });
  (await bench.trainer.next()).finish();
  const { path } = await bench.until(id, "succeeded");
  Deno.renameSync(join(bench.cwd, "saves/one"), join(bench.cwd, "kept"));
  equal(Deno.realPathSync(join(bench.cwd, "kept")), path);
});

Deno.test("an output in the data folder is a link that goes with the folder", async () => {
  await using bench = await Bench.open();
  const id = await trained(bench);
  equal(Deno.readLinkSync(join(bench.data, "saves/one")), `../jobs/${id}/output`);
});

Deno.test("a checkpoint that is not complete is refused, and every way out is one", async () => {
  await using bench = await Bench.open();
  const left = join(bench.data, "saves/one/checkpoint-3");
  Deno.mkdirSync(left, { recursive: true });
  await rejects(bench.train(), {
    code: "checkpoint_incomplete",
    param: "overwrite_output_dir",
    message: /checkpoint-3, .*: remove that folder, set overwrite_output_dir: true .* output_dir$/,
  });
  await rejects(bench.train({ resume_from_checkpoint: "saves/one/checkpoint-3" }), {
    code: "checkpoint_not_found",
    param: "resume_from_checkpoint",
  });
  const { id } = await bench.train({ overwrite_output_dir: true });
  await bench.service.jobs.cancel(id);
  Deno.removeSync(left);
  await bench.train();
});

Deno.test("an output that a symbolic link leads out of the data folder is refused", async () => {
  await using bench = await Bench.open();
  Deno.symlinkSync(bench.cwd, join(bench.data, "saves"));
  await rejects(bench.train(), { code: "path_outside_data_folder" });
});

Deno.test("a deleted model is gone with its names and weights, its job stays", async () => {
  await using bench = await Bench.open();
  const id = await trained(bench);
  const { path, fine_tuned_model } = bench.service.jobs.getTrain(id);
  const { id: deleted } = await bench.service.models.delete("saves/one");
  equal(deleted, "saves/one");
  await rejects(Deno.stat(path), Deno.errors.NotFound);
  await rejects(Deno.lstat(join(bench.data, "saves/one")), Deno.errors.NotFound);
  await rejects(bench.service.models.resolve(fine_tuned_model!, rest), { code: "model_not_found" });
  await rejects(bench.service.models.resolve("saves/one", rest), {
    code: "model_not_found",
    message:
      `Cannot find the model "saves/one": the model that job ${id} made under it was deleted`,
  });
  equal(bench.service.jobs.getTrain(id).status, "succeeded");
});

Deno.test("a checkpoint is not deleted alone, and says with what it goes", async () => {
  await using bench = await Bench.open();
  const id = await trained(bench);
  const { data: [checkpoint] } = bench.service.jobs.checkpoints(id, {});
  const name = checkpoint!.fine_tuned_model_checkpoint;
  const { fine_tuned_model } = bench.service.jobs.getTrain(id);
  await rejects(bench.service.models.delete(name), {
    code: "model_not_deletable",
    message:
      `Cannot delete "${name}" as it is a checkpoint, and single ones cannot be deleted: delete ` +
      `the model (${fine_tuned_model}, once its job has ended), with which its checkpoints go`,
  });
});

Deno.test("the checkpoints of a deleted model are gone as well, its events still tell of them", async () => {
  await using bench = await Bench.open();
  const { jobs, models } = bench.service;
  const id = await trained(bench);
  const name = jobs.checkpoints(id, {}).data[0]!.fine_tuned_model_checkpoint;
  await models.resolve(name, rest);
  await models.delete("saves/one");
  deepStrictEqual(jobs.checkpoints(id, {}).data, []);
  await rejects(models.resolve(name, rest), {
    code: "model_not_found",
    message: `Cannot find the model "${name}": its job has no such checkpoint, or no longer`,
  });
  ok((await bench.messages(id)).includes("Checkpoint at step 5"));
});

Deno.test("a checkpoint whose folder somebody removed is no model", async () => {
  await using bench = await Bench.open();
  const id = await trained(bench);
  const [checkpoint] = bench.service.jobs.checkpoints(id, {}).data;
  await Deno.remove(join(bench.service.jobs.getTrain(id).path, "checkpoint-5"), {
    recursive: true,
  });
  const { fine_tuned_model_checkpoint } = checkpoint!;
  await rejects(bench.service.models.resolve(fine_tuned_model_checkpoint, rest), {
    code: "model_not_found",
  });
});

Deno.test("a model that an unfinished job reads is not deleted", async () => {
  await using bench = await Bench.open();
  await trained(bench);
  await bench.train({ model_name_or_path: "saves/one", output_dir: "saves/two" });
  await rejects(bench.service.models.delete("saves/one"), { code: "model_in_use" });
});

Deno.test("an alias is not deleted", async () => {
  await using bench = await Bench.open();
  await rejects(bench.service.models.delete("base"), { code: "model_not_deletable" });
  deepStrictEqual(bench.service.models.list().data.map(({ id }) => id), ["base"]);
});
