/**
 * Names of layers that a request can be held to before its base is loaded.
 *
 * Only what config.json on this disk settles is judged, and only for Llama-shaped bases; any other name
 * is the trainer's to refuse (py/bullion/models/lora.py).
 */
import { join } from "node:path";
import { z } from "zod";
import { BullionError } from "../../contract/errors.ts";
import type { BaseModel } from "../../contract/recipe.ts";
import { nearest } from "../config/nearest.ts";

const Config = z.object({ model_type: z.literal("llama") });

const PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];
const ADAPTABLE = [...PROJECTIONS, "embed_tokens", "lm_head"];

/** Throws `unknown_target` for a name of `lora_target` that the base is known not to have. */
export function assertLayers(names: readonly string[], base: BaseModel): void {
  if (!isLocalLlama(base)) return;
  for (const name of names) {
    // A name may be the end of a module's path, as in layers.0.self_attn.q_proj.
    const last = name.split(".").at(-1)!;
    if (name === "all" || ADAPTABLE.includes(last)) continue;
    const near = nearest(last, ADAPTABLE);
    throw new BullionError(
      "unknown_target",
      `Cannot adapt "${name}" as ${base.name} has no such layer` +
        (near === null ? "" : `; the nearest one is ${near}`) +
        `: write all, or some of ${PROJECTIONS.join(", ")}`,
      { param: "lora_target" },
    );
  }
}

function isLocalLlama(base: BaseModel): boolean {
  if (base.hub !== null) return false;
  try {
    const text = Deno.readTextFileSync(join(base.path, "config.json"));
    return Config.safeParse(JSON.parse(text)).success;
  } catch {
    return false; // what is wrong with the folder, the trainer says
  }
}
