// What an output may not be called.
import { rejects } from "node:assert/strict";
import { Bench, trainYaml } from "./room.ts";

Deno.test("a job cannot take over the name of a model of the file of names", async () => {
  await using bench = await Bench.open();
  const text = trainYaml({ output_dir: "base" });
  const create = bench.service.jobs.createTrain({ kind: "yaml", text, origin: { kind: "rest" } });
  await rejects(create, { code: "output_name_in_use", param: "output_dir" });
});
