/**
 * `demo`: the whole path on the embedded base, from a report to a tuned model that answers.
 *
 * Report → pairs → LoRA → verified merge → chat over HTTP, base beside tuned, asked in phrasings that
 * were not trained. Owns the order of the parts and what is printed; the parts are core's.
 */
import { parse, stringify } from "@std/yaml";
import { BullionError } from "../contract/errors.ts";
import type { ExportJob, FineTuningJob } from "../contract/job.ts";
import type { ServerConfig } from "../core/config/server.ts";
import type { Command } from "./command.ts";
import { configOptions, readConfig } from "./configuration.ts";
import { askTen, heldOutTen, type Score } from "./demo_questions.ts";
import { listen, type Listening } from "./listening.ts";
import { follow, type Screen, terminalScreen } from "./progress.ts";
import { PROJECT } from "./project.ts";
import { preparePython } from "./setup.ts";
import { untilSignal } from "./signals.ts";

const REPORT = `${PROJECT}/examples/data/sample_report.pdf`;
const RECIPE = `${PROJECT}/configs/recipes/bullion_tiny.yaml`;
const BASE = "bullion-tiny";
const DATASET = "demo";
const ADAPTER = "demo/adapter";
const MERGED = "demo/model";

/** As many facts as a laptop learns in a minute; the report holds more. */
const FACTS = 40;
const PHRASINGS = 3; // trained ones of a fact, as configs/phrasings.zh.yaml says

/** What the tuned model must reach, and the base must not exceed, out of ten. */
const NEEDED = 9;
const ALLOWED = 1;

export const demo: Command = {
  name: "demo",
  summary: "See the whole path in a few minutes, without a GPU",
  positionals: [],
  options: {
    once: { type: "boolean", help: "end after the ten questions, also in a terminal" },
    port: { type: "string", value: "N", help: "port to serve on (default: a free one)" },
    ...configOptions,
  },
  async run(given) {
    const started = performance.now();
    const screen = terminalScreen();
    const config = readConfig(given, {
      port: given.text("port") ?? "0",
      data_dir: given.text("data") ?? `${PROJECT}/.bullion/demo`,
      models_file: given.text("models") ?? `${PROJECT}/configs/models.tiny.yaml`,
    });
    const python = await preparePython(config.python);
    const listening = await listen(config, python);
    try {
      await tune(listening, screen);
      const score = await compare(listening, screen);
      conclude(score, config, (performance.now() - started) / 1000);
      if (Deno.stdout.isTerminal() && !given.flag("once")) {
        console.log(`\nServing on ${listening.url} until Ctrl-C`);
        await untilSignal();
      }
      return score.tuned >= NEEDED && score.base <= ALLOWED ? 0 : 1;
    } finally {
      await listening.close();
    }
  },
};

async function tune({ service }: Listening, screen: Screen): Promise<void> {
  const { documents, jobs } = service;
  screen.line("\n1  Report → question-answer pairs");
  const pdf = await Deno.open(REPORT);
  const document = await documents.create(pdf.readable, "sample_report.pdf");
  const pairs = await documents.writePairs(document.id, { dataset: DATASET });
  screen.line(
    `  ${document.pages} pages, ${pairs.facts} facts, ${pairs.pairs} pairs; ` +
      `the first ${FACTS} facts are trained, to keep this short`,
  );

  screen.line("\n2  LoRA fine-tuning of the embedded base");
  const recipe = stringify({
    ...parse(await Deno.readTextFile(RECIPE)),
    model_name_or_path: BASE,
    dataset: DATASET,
    output_dir: ADAPTER,
    max_samples: FACTS * PHRASINGS,
  });
  const training = await jobs.createTrain({ kind: "yaml", text: recipe, origin: { kind: "rest" } });
  await follow(jobs.tail(training.id, 0, forever()), screen);
  succeeded(jobs.getTrain(training.id));

  screen.line("\n3  Merge, verified against base plus adapter");
  const merge = stringify({
    model_name_or_path: BASE,
    adapter_name_or_path: ADAPTER,
    template: "llama3",
    export_dir: MERGED,
  });
  const exporting = await jobs.createExport({ text: merge, origin: { kind: "rest" } });
  await follow(jobs.tail(exporting.id, 0, forever()), screen);
  const { result } = succeeded(jobs.getExport(exporting.id));
  screen.line(
    `  largest difference of a logit ${result?.max_logit_difference}, ` +
      `equal first choices ${result?.top1_agreement}`,
  );
}

async function compare({ url }: Listening, screen: Screen): Promise<Score> {
  screen.line(`\n4  Ten questions to both models over ${url}, in phrasings that were not trained`);
  const questions = await heldOutTen(REPORT, `${PROJECT}/configs/phrasings.zh.yaml`, FACTS);
  return await askTen(url, questions, { base: BASE, tuned: MERGED });
}

function conclude(score: Score, config: ServerConfig, seconds: number) {
  const example = {
    model: MERGED,
    messages: [{ role: "user", content: score.example }],
    temperature: 0,
  };
  console.log(`
Right answers: base ${score.base} of 10, tuned ${score.tuned} of 10, in ${Math.round(seconds)} s

Everything lies in ${config.data_dir}
  ${ADAPTER}  adapter, checkpoints, trainer_log.jsonl, training_loss.png
  ${MERGED}    the merged model, opens in transformers as it stands

How to go on
  deno task serve --data ${config.data_dir} --models ${PROJECT}/configs/models.tiny.yaml
  curl -s http://127.0.0.1:8321/v1/chat/completions -H 'Content-Type: application/json' \\
    -d '${JSON.stringify(example)}'
  README.md: your own reports, Llama-3-8B, the reference recipe`);
}

function succeeded<T extends FineTuningJob | ExportJob>(job: T): T {
  if (job.status === "succeeded") return job;
  throw job.error
    ? BullionError.from(job.error)
    : new BullionError(`job_${job.status}`, `Job ${job.id} is ${job.status}`);
}

function forever(): AbortSignal {
  return new AbortController().signal;
}
