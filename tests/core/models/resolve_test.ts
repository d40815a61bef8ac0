// What a name means: one order, a reason, no fallback.
import { deepStrictEqual, equal, match, ok, throws } from "node:assert/strict";
import { join } from "node:path";
import { checkpointId, modelId, parseOwnName } from "../../../core/models/names.ts";
import { nameOn, readAliases } from "../../../core/models/aliases.ts";
import { EMBEDDED_BASE } from "../../../core/models/embedded.ts";
import { type Origin, Resolver } from "../../../core/models/resolve.ts";
import { Store } from "../../../core/store/store.ts";
import { temporaryFolder } from "../folder.ts";

const LLAMA = "meta-llama/Meta-Llama-3-8B-Instruct";
const TWIN = "LLM-Research/Meta-Llama-3-8B-Instruct";
const JOB = "ftjob-0123456789abcdefghijklmn";
const rest: Origin = { kind: "rest" };
const base = { name: "base", path: "/models/base", hub: null, trust_remote_code: false };

class Place implements Disposable {
  readonly #folder = temporaryFolder();
  readonly data = join(this.#folder.path, "data");
  readonly cwd = join(this.#folder.path, "work");
  readonly store = Store.open(this.data, null);
  readonly commandLine: Origin = { kind: "command_line", cwd: this.cwd };

  resolver(aliases: Record<string, string> = {}, modelscope = false): Resolver {
    const meanings = Object.entries(aliases).map(([name, path]) =>
      [name, { path, hub: null }] as const
    );
    return new Resolver({
      store: this.store,
      baseOfJob: (id) => id === JOB ? base : null,
      aliases: new Map(meanings),
      modelscope,
    });
  }

  /** A folder that holds a model, an adapter or nothing but checkpoints. */
  folder(
    path: string,
    kind: "model" | "adapter" | "checkpoints",
    on: string | null = null,
  ): string {
    Deno.mkdirSync(path, { recursive: true });
    if (kind === "model") Deno.writeTextFileSync(join(path, "config.json"), "{}");
    if (kind === "checkpoints") Deno.mkdirSync(join(path, "checkpoint-7"));
    if (kind === "adapter") {
      const config = { base_model_name_or_path: on };
      Deno.writeTextFileSync(join(path, "adapter_config.json"), JSON.stringify(config));
    }
    return Deno.realPathSync(path);
  }

  /** A finished training with one checkpoint. */
  trained(): string {
    const path = this.folder(join(this.store.jobFolder(JOB), "output"), "adapter");
    this.folder(join(path, "checkpoint-5"), "adapter");
    this.store.jobs.insert({ id: JOB, kind: "train", plan: {}, place: null });
    const checkpoint = join(path, "checkpoint-5");
    this.store.events.append(JOB, {
      type: "checkpoint",
      step: 5,
      epoch: 1,
      path: checkpoint,
      metrics: {},
    });
    const id = modelId("base", null, JOB);
    this.store.models.insert({ id, kind: "adapter", job_id: JOB, base, path, details: {} });
    this.store.models.publish({ name: "saves/one", place: "", target: path, job_id: JOB });
    return path;
  }

  [Symbol.dispose](): void {
    this.store.close();
    this.#folder[Symbol.dispose]();
  }
}

Deno.test("an own id, its checkpoint and its published name mean the adapter over its base", () => {
  using place = new Place();
  const path = place.trained();
  const id = modelId("base", null, JOB);
  for (
    const [name, adapter] of [
      [id, path],
      [checkpointId(id, 5), join(path, "checkpoint-5")],
      ["saves/one", path],
      [`jobs/${JOB}/output/checkpoint-5`, join(path, "checkpoint-5")],
    ] as const
  ) {
    const found = place.resolver().resolve(name, rest);
    deepStrictEqual([found.base.path, found.adapter], ["/models/base", adapter]);
  }
});

Deno.test("a folder in the data folder wins over an alias, and both meanings are said", () => {
  using place = new Place();
  const path = place.folder(join(place.data, "mine"), "model");
  const found = place.resolver({ mine: "/elsewhere" }).resolve("mine", rest);
  equal(found.base.path, path);
  match(found.why, /^mine resolved to .*mine because/);
  equal(found.also.length, 1);
  match(found.also[0]!, /\/elsewhere/);
});

Deno.test("of a published name and a folder REST takes the name, the command line its folder", () => {
  using place = new Place();
  const published = place.trained();
  const folder = place.folder(join(place.cwd, "saves/one"), "model");
  equal(place.resolver().resolve("saves/one", rest).adapter, published);
  const typed = place.resolver().resolve("saves/one", place.commandLine);
  deepStrictEqual([typed.base.path, typed.adapter], [folder, null]);
  equal(typed.also.length, 1);
});

Deno.test("on the command line a path starts where the user typed it", () => {
  using place = new Place();
  const path = place.folder(join(place.cwd, "models/mine"), "model");
  equal(place.resolver().resolve("models/mine", place.commandLine).base.path, path);
  equal(place.resolver().resolve(path, place.commandLine).base.path, path);
});

Deno.test("over REST a path outside the data folder is refused", () => {
  using place = new Place();
  const path = place.folder(join(place.cwd, "mine"), "model");
  for (const name of [path, "../work/mine"]) {
    throws(() => place.resolver().resolve(name, rest), {
      code: "path_outside_data_folder",
      message: /configs\/models\.yaml.*command line, which takes paths/,
    });
    throws(() => place.resolver().resolve(name, rest, { param: "adapter_name_or_path" }), {
      message: /give a name below the data folder/,
    });
  }
});

Deno.test("a name that nothing here has is the hub's, by the hub's own name for it", () => {
  using place = new Place();
  for (const name of [LLAMA, TWIN]) {
    const shared = { name, trust_remote_code: false };
    deepStrictEqual(place.resolver().resolve(name, rest).base, {
      ...shared,
      hub: "huggingface",
      path: LLAMA,
    });
    deepStrictEqual(place.resolver({}, true).resolve(name, rest).base, {
      ...shared,
      hub: "modelscope",
      path: TWIN,
    });
  }
});

Deno.test("an alias of a model counts for its name on the other hub", () => {
  using place = new Place();
  equal(place.resolver({ [LLAMA]: "/m" }).resolve(TWIN, rest).base.path, "/m");
});

Deno.test("a name without a meaning is refused and never becomes the embedded base", () => {
  using place = new Place();
  for (const name of ["bullion-tiny", "gpt-4o-mini", "ft:base::ftjob-none"]) {
    throws(() => place.resolver().resolve(name, rest), { code: "model_not_found" });
  }
});

Deno.test("an unknown name is told the nearest known one, and over REST where all are listed", () => {
  using place = new Place();
  place.trained();
  const resolver = place.resolver({ "bullion-tiny": "/m" });
  const listed = /; GET \/v1\/models lists all there are$/;
  for (
    const [name, near] of [["bulion-tiny", "bullion-tiny"], ["saves/on", "saves/one"]] as const
  ) {
    const message = new RegExp(`; the nearest one is "${near}"; GET`);
    throws(() => resolver.resolve(name, rest, { remote: false }), { message });
  }
  throws(() => resolver.resolve("gpt-4o-mini", rest), { message: listed });
  throws(() => resolver.resolve("gpt-4o-mini", rest), ({ message }) => !/nearest/.test(message));
  throws(() => resolver.resolve("bulion-tiny", place.commandLine), { message: /"bullion-tiny"$/ });
});

Deno.test("the names as shipped map nothing to the embedded base, the tiny ones do", () => {
  const file = (name: string) => new URL(`../../../configs/${name}`, import.meta.url).pathname;
  deepStrictEqual([...readAliases(file("models.yaml")).values()], []);
  const tiny = readAliases(file("models.tiny.yaml"));
  for (const name of ["bullion-tiny", LLAMA, TWIN]) equal(tiny.get(name)?.path, EMBEDDED_BASE);
});

Deno.test("an output that holds checkpoints only is refused with the newest one's name", () => {
  using place = new Place();
  place.folder(join(place.data, "saves/x"), "checkpoints");
  throws(() => place.resolver().resolve("saves/x", rest), {
    code: "model_not_ready",
    message: /checkpoint-7/,
  });
});

Deno.test("a foreign adapter lies over the base that its own file names", () => {
  using place = new Place();
  const below = place.folder(join(place.data, "below"), "model");
  const path = place.folder(join(place.data, "foreign"), "adapter", "below");
  const found = place.resolver().resolve("foreign", rest);
  deepStrictEqual([found.base.path, found.adapter], [below, path]);
});

Deno.test("an adapter that names no base, itself, or another adapter is refused", () => {
  using place = new Place();
  place.folder(join(place.data, "none"), "adapter");
  place.folder(join(place.data, "self"), "adapter", "self");
  place.folder(join(place.data, "below"), "model");
  place.folder(join(place.data, "one"), "adapter", "below");
  place.folder(join(place.data, "two"), "adapter", "one");
  for (const name of ["none", "self", "two"]) {
    throws(() => place.resolver().resolve(name, rest), { code: "model_not_found" });
  }
});

Deno.test("a link to a model outside the data folder is not followed over REST", () => {
  using place = new Place();
  const path = place.folder(join(place.cwd, "secret"), "model");
  Deno.symlinkSync(path, join(place.data, "link"));
  throws(() => place.resolver().resolve("link", rest), { code: "path_outside_data_folder" });
});

Deno.test("remote code is trusted only when it was asked for", () => {
  using place = new Place();
  equal(place.resolver().resolve(LLAMA, rest).base.trust_remote_code, false);
  const asked = { trustRemoteCode: true };
  equal(place.resolver().resolve(LLAMA, rest, asked).base.trust_remote_code, true);
});

Deno.test("own ids are read from their end, as a base's name may hold slashes and colons", () => {
  for (const name of ["base", LLAMA, "a:b/c"]) {
    for (const suffix of [null, "annual-2024"]) {
      const id = modelId(name, suffix, JOB);
      deepStrictEqual(parseOwnName(checkpointId(id, 12)), {
        id,
        base: name,
        suffix: suffix ?? "",
        job: JOB,
        step: 12,
      });
      equal(parseOwnName(id)?.step, null);
    }
  }
  for (const name of ["ft:base", "ft:a:b:c", LLAMA, "", "ft:::"]) equal(parseOwnName(name), null);
});

Deno.test("a broken file of names is refused with the name that is wrong", () => {
  using folder = temporaryFolder();
  const file = join(folder.path, "models.yaml");
  Deno.writeTextFileSync(file, "good: {path: x}\nbad: {folder: x}\n");
  throws(() => readAliases(file), { code: "invalid_model_aliases", message: /bad/ });
  for (
    const [text, why] of [
      ["a: {path: x, foo: 1}\n", /a must be .* it is {"path":"x","foo":1}$/],
      ["- a\n", /must be names with meanings/],
      ['"": {path: x}\n', /a name is never empty/],
    ] as const
  ) {
    Deno.writeTextFileSync(file, text);
    throws(() => readAliases(file), { code: "invalid_model_aliases", message: why });
  }
  throws(() => readAliases(file + "x"), { code: "invalid_model_aliases" });
});

Deno.test("names without a twin stay as they are on every hub", () => {
  ok(nameOn("modelscope", "Qwen/Qwen2.5-7B-Instruct") === "Qwen/Qwen2.5-7B-Instruct");
});
