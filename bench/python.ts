/** Runs a benchmark that is written in Python: `bench/python.ts train.py [arguments]`. */
import { PROJECT } from "../commands/project.ts";
import { preparePython } from "../commands/setup.ts";

const [script, ...rest] = Deno.args;
const python = await preparePython(Deno.env.get("BULLION_PYTHON") ?? null);
const { code } = await new Deno.Command(python, {
  args: [`${PROJECT}/bench/${script}`, ...rest],
  stdin: "inherit",
  stdout: "inherit",
  stderr: "inherit",
}).output();
Deno.exit(code);
