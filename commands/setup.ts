/** `setup`: prepares the Python environment; every other command that needs it does so as well. */
import { ensurePython } from "../bridge/environment.ts";
import type { Command } from "./command.ts";
import { PROJECT } from "./project.ts";

export const setup: Command = {
  name: "setup",
  summary: "Prepare the Python environment (venv and pip, pinned); skips what is there",
  positionals: [],
  options: { dev: { type: "boolean", help: "also what the gate needs: pytest, ruff, mypy" } },
  async run(given) {
    const python = await preparePython(Deno.env.get("BULLION_PYTHON") || null, given.flag("dev"));
    console.error(`Python is ready: ${python}`);
    return 0;
  },
};

/** The interpreter: `named` as it is, or our own, prepared if need be, with progress on standard error. */
export function preparePython(named: string | null, dev = false): Promise<string> {
  return ensurePython({
    root: PROJECT,
    named,
    torchIndex: Deno.env.get("BULLION_TORCH_INDEX") || null,
    dev,
    progress: (line) => console.error(line),
  });
}
