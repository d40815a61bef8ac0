/** `export FILE.yaml`: merges an adapter into its base and writes the model, verified. */
import type { ExportJob } from "../contract/job.ts";
import type { Command } from "./command.ts";
import { configOptions, readConfig, readRecipeFile } from "./configuration.ts";
import { runJob, sayWhereItLies } from "./jobs.ts";
import { preparePython } from "./setup.ts";

export const exportModel: Command = {
  name: "export",
  summary: "Merge and export a model by LLaMA-Factory's YAML",
  positionals: [{ name: "FILE.yaml", help: "the recipe; its paths are relative to where you are" }],
  options: configOptions,
  async run(given) {
    const text = await readRecipeFile(given);
    const config = readConfig(given);
    const python = await preparePython(config.python);
    const job = await runJob("export", text, given.cwd, config, python) as ExportJob;
    console.log(`Model:         ${job.export_dir ?? job.path}`);
    for (const [name, value] of Object.entries(job.result ?? {})) {
      if (typeof value === "number") console.log(`${name}: ${value}`);
    }
    sayWhereItLies(job.export_dir, job.path, given.cwd);
    return 0;
  },
};
