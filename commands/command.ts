/** What a command is, and how it reads its arguments. */
import { parseArgs } from "node:util";
import { BullionError } from "../contract/errors.ts";

export interface Option {
  type: "string" | "boolean";
  short?: string;
  value?: string; // how help names its value
  help: string;
}

export interface Command {
  name: string;
  summary: string; // one line in the list of commands
  positionals: readonly { name: string; help: string }[];
  options: Readonly<Record<string, Option>>;
  /** Returns the exit code. */
  run(given: Given): Promise<number>;
}

/** Arguments as they were given; checked against the command. */
export interface Given {
  positionals: string[];
  text(option: string): string | null;
  flag(option: string): boolean;
  /** The directory where the user typed the command; file names are relative to it. */
  cwd: string;
}

/** Reads `args` by the command's own list; throws `invalid_arguments` naming what is off. */
export function readArguments(command: Command, args: string[], cwd: string): Given {
  const options = Object.fromEntries(
    Object.entries(command.options).map(([name, { type, short }]) => [
      name,
      short ? { type, short } : { type },
    ]),
  );
  let parsed;
  try {
    parsed = parseArgs({ args, options, allowPositionals: true, strict: true });
  } catch (cause) {
    throw invalid(command, (cause as Error).message.split(". ")[0] ?? "", cause);
  }
  const { positionals, values } = parsed;
  const wanted = command.positionals;
  if (positionals.length < wanted.length) {
    throw invalid(command, `${wanted[positionals.length]!.name} is missing`);
  }
  if (positionals.length > wanted.length) {
    throw invalid(command, `${positionals[wanted.length]} is one argument too many`);
  }
  return {
    positionals,
    text: (name) => typeof values[name] === "string" ? values[name] : null,
    flag: (name) => values[name] === true,
    cwd,
  };
}

export function usageOf(command: Command): string {
  const names = command.positionals.map(({ name }) => name);
  const signature = ["deno task", command.name, ...names, "[options]"].join(" ");
  const rows = [
    ...command.positionals.map(({ name, help }) => [name, help]),
    ...Object.entries(command.options).map(([name, { value, help }]) => [
      value ? `--${name} ${value}` : `--${name}`,
      help,
    ]),
    ["--help", "this text"],
  ] as [string, string][];
  const width = Math.max(...rows.map(([left]) => left.length));
  const table = rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`).join("\n");
  return `${command.summary}\n\n${signature}\n\n${table}`;
}

function invalid(command: Command, fault: string, cause?: unknown): BullionError {
  return new BullionError(
    "invalid_arguments",
    `Cannot run ${command.name} as ${fault}\n\n${usageOf(command)}`,
    { cause },
  );
}
