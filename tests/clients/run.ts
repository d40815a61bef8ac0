/**
 * Official clients, unmodified, against running services: the OpenAI SDK of PyPI and
 * lm-evaluation-harness.
 *
 * Makes `.clients-venv` with pinned packages once, starts a service for each situation a client meets
 * (open, with keys, full), and runs tests/clients/*_test.py against them. Exit code as pytest's.
 * `--only WORD` runs the tests whose name holds the word.
 */
import { parseArgs } from "node:util";
import { root } from "../e2e/project.ts";
import { RunningService } from "../e2e/service.ts";

const { values: { only } } = parseArgs({ options: { only: { type: "string" } } });
const venv = `${root}/.clients-venv`;
const python = `${venv}/bin/python`;

const REQUIREMENTS = [
  `${root}/py/requirements-torch.txt`,
  `${root}/tests/clients/requirements.txt`,
];

await ensurePackages();
const open = await RunningService.start();
const keyed = await RunningService.start({ BULLION_API_KEYS: "first-key,second-key" });
const full = await RunningService.start({
  BULLION_ENGINE__MAX_RUNNING: "1",
  BULLION_ENGINE__MAX_WAITING: "1",
});
const code = await run(python, ["-m", "pytest", "-q", "--rootdir", root, ...selected()], {
  BULLION_URL: open.url,
  BULLION_DATA_FOLDER: open.folder,
  BULLION_URL_KEYED: keyed.url,
  BULLION_URL_FULL: full.url,
  HF_DATASETS_OFFLINE: "1",
  HF_HUB_OFFLINE: "1",
  TRANSFORMERS_OFFLINE: "1",
  TOKENIZERS_PARALLELISM: "false",
  OMP_NUM_THREADS: "1",
});
for (const service of [open, keyed, full]) await service.end("SIGTERM");
Deno.exit(code);

function selected(): string[] {
  const folder = `${root}/tests/clients`;
  return ["-c", `${root}/py/pyproject.toml`, folder, ...(only ? ["-k", only] : [])];
}

/** Installs what the requirements name, unless that was done; a mark tells, so it can be gone on with. */
async function ensurePackages(): Promise<void> {
  const wanted = (await Promise.all(REQUIREMENTS.map((file) => Deno.readTextFile(file)))).join("");
  const mark = `${venv}/bullion.ready`;
  if (await Deno.readTextFile(mark).catch(() => "") === wanted) return;
  console.log(`Installing clients into ${venv}: a minute, once`);
  await must("python3", ["-m", "venv", venv]);
  const index = Deno.env.get("BULLION_TORCH_INDEX");
  const install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
  for (const [number, file] of REQUIREMENTS.entries()) {
    const from = number === 0 && index ? ["--index-url", index] : [];
    await must(python, [...install, ...from, "-r", file]);
  }
  await Deno.writeTextFile(mark, wanted);
}

async function must(program: string, args: string[]): Promise<void> {
  const code = await run(program, args);
  if (code !== 0) throw new Error(`${program} ${args.join(" ")} ended with exit code ${code}`);
}

async function run(program: string, args: string[], env?: Record<string, string>): Promise<number> {
  return (await new Deno.Command(program, { args, env, cwd: root, stdin: "null" }).spawn().status)
    .code;
}
