// The recipes that are shipped can be used as they stand.
import { ok } from "node:assert/strict";
import { readRecipe } from "../../../core/config/llamafactory.ts";
import type { Scope } from "../../../core/config/llamafactory.ts";

const FOLDER = new URL("../../../configs/recipes/", import.meta.url);

function scopeOf(file: string): Scope {
  return file.includes("export") ? "export" : file.includes("chat") ? "chat" : "train";
}

for (const { name } of Deno.readDirSync(FOLDER)) {
  Deno.test(`configs/recipes/${name} is read without a fault`, () => {
    ok(readRecipe(Deno.readTextFileSync(new URL(name, FOLDER)), scopeOf(name)).keys);
  });
}
