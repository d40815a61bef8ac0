/** `train FILE.yaml`: LLaMA-Factory's training YAML as it stands. */
import type { FineTuningJob } from "../contract/job.ts";
import type { Command } from "./command.ts";
import { configOptions, readConfig, readRecipeFile } from "./configuration.ts";
import { runJob, sayWhereItLies } from "./jobs.ts";
import { preparePython } from "./setup.ts";

export const train: Command = {
  name: "train",
  summary: "Fine-tune by LLaMA-Factory's YAML",
  positionals: [{ name: "FILE.yaml", help: "the recipe; its paths are relative to where you are" }],
  options: configOptions,
  async run(given) {
    const text = await readRecipeFile(given);
    const config = readConfig(given);
    const python = await preparePython(config.python);
    const job = await runJob("train", text, given.cwd, config, python) as FineTuningJob;
    console.log(`Adapter:  ${job.output_dir ?? job.path}`);
    console.log(`Model:    ${job.fine_tuned_model}`);
    sayWhereItLies(job.output_dir, job.path, given.cwd);
    return 0;
  },
};
