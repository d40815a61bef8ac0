/** `template FILE.yaml`: what a record becomes; trained tokens in colour, or ids and labels as JSON. */
import { BullionError } from "../contract/errors.ts";
import type { EncodedRecord } from "../core/service.ts";
import type { Command } from "./command.ts";
import { configOptions, readConfig, readRecipeFile } from "./configuration.ts";
import { openHere } from "./listening.ts";
import { preparePython } from "./setup.ts";

const TRAINED = "\x1b[32m";
const PLAIN = "\x1b[2m";
const RESET = "\x1b[0m";

export const template: Command = {
  name: "template",
  summary: "Show which tokens of a record are trained",
  positionals: [{ name: "FILE.yaml", help: "a training recipe" }],
  options: {
    record: { type: "string", value: "N", help: "this record only (its index, from 0)" },
    json: { type: "boolean", help: 'one line a record: {"index", "input_ids", "labels"}' },
    ...configOptions,
  },
  async run(given) {
    const text = await readRecipeFile(given);
    const config = readConfig(given);
    const python = await preparePython(config.python);
    const record = recordOf(given.text("record"));
    const service = await openHere(config, python, "template");
    const origin = { kind: "command_line" as const, cwd: given.cwd };
    try {
      const show = given.flag("json") ? asJson : asColours;
      for await (const encoded of service.jobs.preview({ text, origin, record })) {
        console.log(show(encoded));
      }
      return 0;
    } finally {
      await service.close();
    }
  },
};

function recordOf(text: string | null): number | null {
  if (text === null) return null;
  if (/^\d+$/.test(text)) return Number(text);
  throw new BullionError("invalid_arguments", `--record must be a number from 0, not ${text}`);
}

function asJson({ index, input_ids, labels }: EncodedRecord): string {
  return JSON.stringify({ index, input_ids, labels });
}

function asColours({ index, input_ids, labels, spans }: EncodedRecord): string {
  const trained = labels.filter((label) => label !== -100).length;
  const head = `record ${index}: ${input_ids.length} tokens, ${trained} trained`;
  const body = spans.map((span) => (span.trained ? TRAINED : PLAIN) + span.text + RESET);
  return `${head}\n${body.join("")}\n`;
}
