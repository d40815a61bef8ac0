// Names of layers are judged before a job is queued, where config.json on this disk settles them.
import { rejects, throws } from "node:assert/strict";
import { EMBEDDED_BASE } from "../../../core/models/embedded.ts";
import { assertLayers } from "../../../core/models/layers.ts";
import { Bench } from "../jobs/room.ts";

const tiny = { name: "tiny", path: EMBEDDED_BASE, hub: null, trust_remote_code: false };

Deno.test("a layer that a Llama-shaped base does not have is refused with the nearest", () => {
  throws(() => assertLayers(["q_proj", "v_porj"], tiny), {
    code: "unknown_target",
    param: "lora_target",
    message:
      'Cannot adapt "v_porj" as tiny has no such layer; the nearest one is v_proj: write all, ' +
      "or some of q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj",
  });
  throws(() => assertLayers(["nope"], tiny), {
    message: /^Cannot adapt "nope" as tiny has no such layer: write all, or some of q_proj/,
  });
});

Deno.test("all, layers by name and layers by the end of their path pass", () => {
  assertLayers(["all"], tiny);
  assertLayers(["q_proj", "layers.0.mlp.down_proj", "lm_head"], tiny);
});

Deno.test("a base that is not here, or is of another family, is left to the trainer", () => {
  const folder = Deno.makeTempDirSync();
  Deno.writeTextFileSync(`${folder}/config.json`, '{"model_type": "gpt2"}');
  assertLayers(["c_attn"], { ...tiny, path: folder });
  assertLayers(["c_attn"], { ...tiny, path: "meta/some", hub: "huggingface" });
  Deno.removeSync(folder, { recursive: true });
});

Deno.test("a job with such a name is refused before it is queued", async () => {
  await using bench = await Bench.open();
  Deno.writeTextFileSync(`${bench.cwd}/base/config.json`, '{"model_type": "llama"}');
  await rejects(bench.train({ lora_target: "q_porj" }), { code: "unknown_target" });
  await bench.train({ lora_target: "q_proj" });
});
