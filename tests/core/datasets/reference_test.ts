// The reference project's records, and what LLaMA-Factory itself makes of other shapes.
import { deepStrictEqual, equal } from "node:assert/strict";
import { toCanonical } from "../../../core/datasets/canonical.ts";
import { DatasetInfo } from "../../../core/datasets/dataset_info.ts";
import { readShared, sharedTest } from "../../shared_data.ts";

const REFERENCE = "data/reference/datasets_finance.json";
const GOLDEN = "golden/multiturn.json";

sharedTest("the reference's 977 records come through byte for byte", REFERENCE, async () => {
  const source = readShared(REFERENCE);
  const parsed = JSON.parse(new TextDecoder().decode(source)) as {
    input: string;
    output: string;
  }[];
  const { records, report } = await toCanonical(source);
  equal(records.length, 977);
  deepStrictEqual(report.dropped, []);
  deepStrictEqual(report.notes, []);
  deepStrictEqual(
    records,
    parsed.map(({ input, output }, index) => ({
      index,
      system: null,
      tools: null,
      turns: [{ role: "user", content: input }, { role: "assistant", content: output }],
    })),
  );
});

const golden = () => JSON.parse(new TextDecoder().decode(readShared(GOLDEN)));
const asFile = (value: unknown) => new TextEncoder().encode(JSON.stringify(value, null, 2));

function described(name: string) {
  const { dataset_info } = golden().inputs;
  return new DatasetInfo(JSON.stringify(dataset_info), "dataset_info.json").entry(name).description;
}

sharedTest(
  "alpaca with history and system keeps every record that LLaMA-Factory keeps",
  GOLDEN,
  async () => {
    const { inputs, cases } = golden();
    const { records } = await toCanonical(asFile(inputs.alpaca), { description: described("alp") });
    equal(records.length, cases.alpaca.length);
    // One trained span an answer: the history's, then the record's own.
    deepStrictEqual(
      records.map(({ turns }) => turns.length / 2),
      cases.alpaca.map(({ trained_spans }: { trained_spans: unknown[] }) => trained_spans.length),
    );
    equal(records[1]!.system, "You are a helpful financial analyst.");
    equal(records[4]!.turns[0]!.content, "  leading and trailing  \n<|eot_id|> special in text");
  },
);

sharedTest("without columns alpaca has neither history nor system", GOLDEN, async () => {
  const { inputs } = golden();
  const { records } = await toCanonical(asFile(inputs.alpaca), {
    description: described("alp_nosys"),
  });
  for (const { system, turns } of records) deepStrictEqual([system, turns.length], [null, 2]);
});

sharedTest(
  "sharegpt drops the records that LLaMA-Factory drops, and says which",
  GOLDEN,
  async () => {
    const { inputs, cases } = golden();
    const { records, report } = await toCanonical(asFile(inputs.sharegpt), {
      description: described("sg"),
    });
    deepStrictEqual(report.dropped.map(({ index }) => index), [3, 4]);
    deepStrictEqual(records.map(({ index }) => index), [0, 1, 2]);
    const sharegpt = Object.entries(cases).find(([name]) => name === "sharegpt")?.[1] as unknown[];
    equal(records.length, sharegpt.length);
    deepStrictEqual(records[0]!.turns.map(({ role }) => role), [
      "user",
      "function_call",
      "observation",
      "assistant",
    ]);
    equal(records[1]!.system, "系统消息在列表里");
  },
);
