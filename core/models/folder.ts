/**
 * What a folder on the disk is to a model's name: a whole model, an adapter, or neither.
 *
 * Looks at file names and at adapter_config.json; opens no weights.
 */
import { join } from "node:path";
import { z } from "zod";

const AdapterConfig = z.object({ base_model_name_or_path: z.string().nullish() });

export type ModelFolder =
  | { kind: "model" }
  | { kind: "adapter"; base: string | null } // the base's name as the adapter knows it
  | { kind: "checkpoints"; newest: string } // an output folder whose training has not ended
  | { kind: "other" }
  | { kind: "missing" };

export function lookAt(folder: string): ModelFolder {
  let names: string[];
  try {
    names = Array.from(Deno.readDirSync(folder), (entry) => entry.name);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return { kind: "missing" };
    if (error instanceof Deno.errors.NotADirectory) return { kind: "other" };
    throw error;
  }
  if (names.includes("adapter_config.json")) {
    return { kind: "adapter", base: baseOf(join(folder, "adapter_config.json")) };
  }
  if (names.includes("config.json")) return { kind: "model" };
  const newest = checkpointsIn(folder)[0];
  return newest ? { kind: "checkpoints", newest: newest.path } : { kind: "other" };
}

export interface CheckpointFolder {
  step: number;
  path: string;
}

/** `checkpoint-N` folders of an output folder, newest first. None where the folder is missing. */
export function checkpointsIn(folder: string): CheckpointFolder[] {
  try {
    return Array.from(Deno.readDirSync(folder))
      .map((entry) => /^checkpoint-(\d+)$/.exec(entry.name))
      .filter((match) => match !== null)
      .map((match) => ({ step: Number(match[1]), path: join(folder, match[0]) }))
      .sort((a, b) => b.step - a.step);
  } catch {
    return [];
  }
}

/** Whether all of a checkpoint is there: its state is written last, by Transformers and by us. */
export function isComplete(checkpoint: string): boolean {
  try {
    return Deno.statSync(join(checkpoint, "trainer_state.json")).isFile;
  } catch {
    return false;
  }
}

function baseOf(path: string): string | null {
  try {
    const config = AdapterConfig.parse(JSON.parse(Deno.readTextFileSync(path)));
    return config.base_model_name_or_path || null;
  } catch {
    return null;
  }
}
