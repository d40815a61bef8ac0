// Both languages know the same templates; tests/py/data/template_test.py is the other half.
import { deepStrictEqual } from "node:assert/strict";
import { TemplateName } from "../../contract/recipe.ts";
import golden from "../golden/templates.json" with { type: "json" };

Deno.test("the templates a request may name are those that Python has", () => {
  deepStrictEqual<string[]>(TemplateName.options, golden);
});
