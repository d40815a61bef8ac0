// What data-set names mean: registered ones, and LLaMA-Factory's dataset_info.json.
import { deepStrictEqual, equal, match } from "node:assert/strict";
import { BullionError } from "../../../contract/errors.ts";
import { DatasetInfo } from "../../../core/datasets/dataset_info.ts";
import { resolveDatasets } from "../../../core/datasets/registry.ts";

const info = (entries: unknown) =>
  new DatasetInfo(JSON.stringify(entries), "data/dataset_info.json");

function refusal(act: () => unknown): BullionError {
  try {
    act();
  } catch (error) {
    if (error instanceof BullionError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}

Deno.test("an entry with a file name alone is alpaca with its own columns", () => {
  const { file_name, description } = info({ d: { file_name: "d.json" } }).entry("d");
  equal(file_name, "d.json");
  equal(description.format, "alpaca");
  equal(description.columns.prompt, "instruction");
  equal(description.columns.system, null);
});

Deno.test("once columns are given, one that is not mapped does not exist", () => {
  const { description } = info({
    d: { file_name: "d.json", columns: { prompt: "q", response: "a", system: "s" } },
  }).entry("d");
  deepStrictEqual(description.columns, {
    prompt: "q",
    query: null,
    response: "a",
    history: null,
    messages: null,
    system: "s",
    tools: null,
  });
});

Deno.test("once tags are given, a role that is not named does not exist", () => {
  const { description } = info({
    d: {
      file_name: "d.json",
      formatting: "sharegpt",
      columns: { messages: "messages" },
      tags: {
        role_tag: "role",
        content_tag: "content",
        user_tag: "user",
        assistant_tag: "assistant",
      },
    },
  }).entry("d");
  equal(description.tags.user_tag, "user");
  equal(description.tags.system_tag, null);
});

const REFUSED: [string, unknown, RegExp][] = [
  ["a hub's data set", { hf_hub_url: "a/b" }, /hf_hub_url .*download/],
  ["preference data", { file_name: "d.json", ranking: true }, /ranking/],
  ["a random sample", { file_name: "d.json", num_samples: 5 }, /num_samples .*max_samples/],
  ["pictures", { file_name: "d.json", columns: { messages: "m", images: "i" } }, /images/],
  ["a chosen answer", { file_name: "d.json", columns: { prompt: "p", chosen: "c" } }, /chosen/],
  ["a table", { file_name: "d.parquet" }, /d\.parquet .*JSON/],
  ["no file", {}, /file_name is missing/],
  ["a mistyped key", { file_name: "d.json", colums: {} }, /colums; the nearest one is columns/],
  ["a mistyped column", { file_name: "d.json", columns: { promt: "p" } }, /promt; .*prompt/],
  ["columns without an answer", { file_name: "d.json", columns: { prompt: "p" } }, /response/],
  ["an unknown format", { file_name: "d.json", formatting: "xml" }, /formatting .*"xml"/],
];

for (const [what, entry, message] of REFUSED) {
  Deno.test(`an entry with ${what} is refused by name`, () => {
    const error = refusal(() => info({ d: entry }).entry("d"));
    equal(error.code, "invalid_dataset_info");
    match(error.message, message);
    match(error.message, /data\/dataset_info\.json cannot be used for d/);
  });
}

Deno.test("an entry that nobody asks for may be whatever it is", () => {
  equal(
    info({ d: { file_name: "d.json" }, other: { ranking: true } }).entry("d").file_name,
    "d.json",
  );
});

Deno.test("a dataset_info.json that is no JSON is refused by its place", () => {
  match(refusal(() => new DatasetInfo("{", "here.json")).message, /^here\.json is no JSON/);
});

const lookup = (prefer: "registered" | "dataset_info") => ({
  registered: (name: string) => ["both", "mine"].includes(name) ? { id: name } : null,
  registeredNames: () => ["both", "mine"],
  info: info({ both: { file_name: "both.json" }, theirs: { file_name: "theirs.json" } }),
  infoPath: "data/dataset_info.json",
  prefer,
});

Deno.test("names keep their order, whichever place they come from", () => {
  const { sources, notes } = resolveDatasets(["theirs", "mine"], lookup("registered"));
  deepStrictEqual(sources.map(({ kind, name }) => [kind, name]), [
    ["file", "theirs"],
    ["registered", "mine"],
  ]);
  deepStrictEqual(notes, []);
});

Deno.test("a name with two meanings is said, and the preferred one counts", () => {
  for (const prefer of ["registered", "dataset_info"] as const) {
    const { sources, notes } = resolveDatasets(["both"], lookup(prefer));
    equal(sources[0]!.kind, prefer === "registered" ? "registered" : "file");
    equal(notes.length, 1);
  }
});

Deno.test("an unknown name is refused with the nearest one, at its own key", () => {
  const error = refusal(() => resolveDatasets(["thiers"], lookup("registered"), "eval_dataset"));
  equal(error.code, "dataset_not_found");
  equal(error.param, "eval_dataset");
  match(error.message, /thiers.*nearest one is theirs/);
});

Deno.test("where nothing is registered, an unknown name is told how to come in", () => {
  const empty = {
    ...lookup("registered"),
    registered: () => null,
    registeredNames: () => [],
    info: null,
  };
  match(refusal(() => resolveDatasets(["x y"], empty)).message, /POST \/v1\/datasets\?name=x%20y/);
});
