/**
 * configs/models.yaml: names that an operator gives a meaning, and the hubs' names for one model.
 *
 *   my-llama: {path: /models/llama-3-8b}          # relative to the YAML's own folder
 *   my-other: {huggingface: meta-llama/Llama-3.1-8B-Instruct}
 */
import { parse } from "@std/yaml";
import { dirname, resolve } from "node:path";
import { z } from "zod";
import { BullionError } from "../../contract/errors.ts";
import type { BaseModel } from "../../contract/recipe.ts";

const Alias = z.union([
  z.strictObject({ path: z.string().min(1) }),
  z.strictObject({ huggingface: z.string().min(1) }),
  z.strictObject({ modelscope: z.string().min(1) }),
]);
const AliasFile = z.record(z.string().min(1), Alias).nullable();

export type Meaning = Pick<BaseModel, "path" | "hub">;
export type Aliases = ReadonlyMap<string, Meaning>;

/** Reads the file. Refuses a broken one with `invalid_model_aliases`; a missing one as well. */
export function readAliases(file: string): Aliases {
  const refuse = (why: string, cause?: unknown) =>
    new BullionError(
      "invalid_model_aliases",
      `Cannot use the model names in ${file}: ${why}`,
      { param: "models", cause },
    );
  let text: string;
  try {
    text = Deno.readTextFileSync(file);
  } catch (error) {
    throw refuse("it cannot be read; choose a file with --models or BULLION_MODELS", error);
  }
  let content: unknown;
  try {
    content = parse(text) ?? null;
  } catch (error) {
    throw refuse((error as Error).message, error);
  }
  const parsed = AliasFile.safeParse(content);
  if (!parsed.success) {
    const name = parsed.error.issues[0]!.path[0];
    if (name === undefined) throw refuse("it must be names with meanings, `my-llama: {path: …}`");
    if (name === "") throw refuse("a name is never empty");
    const given = JSON.stringify((content as Record<string, unknown>)[String(name)]);
    throw refuse(
      `${String(name)} must be {path: …}, {huggingface: …} or {modelscope: …}, one of them and ` +
        `nothing else; it is ${given}`,
    );
  }
  const folder = dirname(resolve(file));
  const meaning = (alias: z.infer<typeof Alias>): Meaning => {
    if ("path" in alias) return { path: resolve(folder, alias.path), hub: null };
    if ("huggingface" in alias) return { path: alias.huggingface, hub: "huggingface" };
    return { path: alias.modelscope, hub: "modelscope" };
  };
  return new Map(
    Object.entries(parsed.data ?? {}).map(([name, alias]) => [name, meaning(alias)]),
  );
}

/** One model under the names of two hubs. */
const TWINS = [
  {
    huggingface: "meta-llama/Meta-Llama-3-8B-Instruct",
    modelscope: "LLM-Research/Meta-Llama-3-8B-Instruct",
  },
  {
    huggingface: "meta-llama/Meta-Llama-3-8B",
    modelscope: "LLM-Research/Meta-Llama-3-8B",
  },
] as const;

/** The name by which `hub` knows a model that the other hub calls `name`; `name` where it is one. */
export function nameOn(hub: "huggingface" | "modelscope", name: string): string {
  const twin = TWINS.find((names) => names.huggingface === name || names.modelscope === name);
  return twin ? twin[hub] : name;
}

/** The other hub's name of the same model, where it is known. */
export function twinOf(name: string): string | null {
  const twin = TWINS.find((names) => names.huggingface === name || names.modelscope === name);
  if (!twin) return null;
  return twin.huggingface === name ? twin.modelscope : twin.huggingface;
}
