// A question never downloads a model that nobody here has worked with.
import { equal, match } from "node:assert/strict";
import { BullionError } from "../../../contract/errors.ts";
import { Resolver } from "../../../core/models/resolve.ts";
import { Store } from "../../../core/store/store.ts";

Deno.test("a mistyped organisation/model is model_not_found where nothing may be fetched", async () => {
  const folder = await Deno.makeTempDir();
  const store = Store.open(folder, null);
  try {
    const resolver = new Resolver({
      store,
      baseOfJob: () => null,
      aliases: new Map(),
      modelscope: false,
    });
    const origin = { kind: "rest" } as const;
    equal(resolver.resolve("meta-lama/Llama-3", origin).base.hub, "huggingface");
    let refused: unknown;
    try {
      resolver.resolve("meta-lama/Llama-3", origin, { remote: false });
    } catch (error) {
      refused = error;
    }
    equal((refused as BullionError).code, "model_not_found");
    match((refused as BullionError).message, /meta-lama\/Llama-3/);
  } finally {
    store.close();
    await Deno.remove(folder, { recursive: true });
  }
});
