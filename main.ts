/**
 * Bullion's command line: finds the command, reads its arguments, says what went wrong.
 *
 * A failure that a user can mend ends with its message and exit code 1; anything else shows its trace.
 */
import { chat } from "./commands/chat.ts";
import { type Command, readArguments, usageOf } from "./commands/command.ts";
import { demo } from "./commands/demo.ts";
import { doctor } from "./commands/doctor.ts";
import { exportModel } from "./commands/export.ts";
import { serve } from "./commands/serve.ts";
import { setup } from "./commands/setup.ts";
import { template } from "./commands/template.ts";
import { train } from "./commands/train.ts";
import { BullionError } from "./contract/errors.ts";

const COMMANDS: readonly Command[] = [
  demo,
  serve,
  train,
  exportModel,
  chat,
  template,
  doctor,
  setup,
];

function overview(): string {
  const width = Math.max(...COMMANDS.map(({ name }) => name.length));
  const rows = COMMANDS.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`);
  return [
    "Bullion turns listed companies' reports into a question-answering model and serves it.",
    "",
    "deno task COMMAND [options]",
    "",
    ...rows,
    "",
    "deno task COMMAND --help tells more.",
  ].join("\n");
}

async function main(args: string[]): Promise<number> {
  const [name, ...rest] = args;
  const command = COMMANDS.find((candidate) => candidate.name === name);
  if (command === undefined) {
    const asked = name === undefined || name === "--help" || name === "help";
    console.log(asked ? overview() : `No such command: ${name}\n\n${overview()}`);
    return asked ? 0 : 2;
  }
  if (rest.includes("--help") || rest.includes("-h")) {
    console.log(usageOf(command));
    return 0;
  }
  try {
    const cwd = Deno.env.get("INIT_CWD") ?? Deno.cwd();
    return await command.run(readArguments(command, rest, cwd));
  } catch (error) {
    if (!(error instanceof BullionError)) throw error;
    console.error(`${error.message} [${error.code}]`);
    if (error.code === "internal_error") console.error(error.cause);
    return error.code === "invalid_arguments" ? 2 : 1;
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
