/**
 * The gate: formatters, linters, type checks and tests of both languages, one after the other.
 *
 * Stops at nothing: every step runs, so that one run names all that is wrong. Exit code 0 only if
 * every step passed. `--only WORD` runs the steps whose name holds the word.
 */
import { parseArgs } from "node:util";
import { ensurePython } from "../bridge/environment.ts";

const root = new URL("..", import.meta.url).pathname.replace(/\/$/, "");
const sources = ["main.ts", "commands", "routes", "core", "bridge", "contract", "tests", "bench"];
const permissions = [
  "--allow-read",
  "--allow-write",
  "--allow-run",
  "--allow-env",
  "--allow-sys",
  "--allow-net=127.0.0.1,localhost",
];

interface Step {
  name: string;
  command: string[];
  env?: Record<string, string>;
  cwd?: string;
}

const { values: { only } } = parseArgs({ options: { only: { type: "string" } } });
const python = await ensurePython({
  root,
  named: Deno.env.get("BULLION_PYTHON") || null,
  torchIndex: Deno.env.get("BULLION_TORCH_INDEX") || null,
  dev: true,
  progress: (line) => console.log(line),
});
const deno = Deno.execPath();
const pyproject = `${root}/py/pyproject.toml`;
const pythonFolders = ["py", "tests/py", "tests/bridge/fixtures", "bench"];
const present = await existing(sources);
const modules = present.flatMap((path) => path.endsWith(".ts") ? [path] : [`${path}/**/*.ts`]);

const steps: Step[] = [
  {
    // Development packages have a folder and a lock of their own, so that nobody else installs them:
    // the official OpenAI client, and the true Llama-3 vocabulary.
    name: "packages",
    command: [deno, "install", "--quiet", "--frozen"],
    cwd: `${root}/tests/packages`,
  },
  { name: "format (TypeScript)", command: [deno, "fmt", "--check", ...present] },
  { name: "lint (TypeScript)", command: [deno, "lint", ...present] },
  { name: "locked packages", command: [deno, "check", "--quiet", "--frozen", "main.ts"] },
  {
    name: "types (TypeScript)",
    command: [deno, "check", "--quiet", ...await expand(modules)],
  },
  {
    name: "format (Python)",
    command: [python, "-m", "ruff", "format", "--check", "--config", pyproject, ...pythonFolders],
  },
  {
    name: "lint (Python)",
    command: [python, "-m", "ruff", "check", "--config", pyproject, ...pythonFolders],
  },
  {
    name: "types (Python)",
    command: [python, "-m", "mypy", "--config-file", pyproject, "py/bullion"],
    env: { MYPYPATH: `${root}/py` },
  },
  {
    name: "tests (Python)",
    command: [python, "-m", "pytest", "-c", pyproject, "--rootdir", root, "tests/py"],
    env: { OMP_NUM_THREADS: "1" },
  },
  {
    name: "tests (TypeScript)",
    command: [deno, "test", "--quiet", "--no-check", ...permissions, "tests/"],
    env: { BULLION_TEST_PYTHON: python },
  },
];

const failed: string[] = [];
let run = 0;
for (const { name, command, env, cwd } of steps) {
  if (only && !name.includes(only)) continue;
  run += 1;
  console.log(`\n── ${name}`);
  const started = performance.now();
  const [program, ...args] = command;
  const { success } = await new Deno.Command(program!, {
    args,
    cwd: cwd ?? root,
    env,
    stdin: "null",
    stdout: "inherit",
    stderr: "inherit",
  }).output();
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`── ${name}: ${success ? "passed" : "FAILED"} in ${seconds} s`);
  if (!success) failed.push(name);
}
console.log(`\n${run - failed.length} of ${run} steps passed`);
if (failed.length > 0) console.log(`failed: ${failed.join(", ")}`);
console.log(`${run - failed.length} passed, ${failed.length} failed`);
Deno.exit(failed.length === 0 ? 0 : 1);

async function existing(paths: string[]): Promise<string[]> {
  const there = await Promise.all(
    paths.map((path) => Deno.stat(`${root}/${path}`).then(() => true, () => false)),
  );
  return paths.filter((_, i) => there[i]);
}

async function expand(patterns: string[]): Promise<string[]> {
  const files: string[] = [];
  const walk = async (folder: string): Promise<void> => {
    for await (const entry of Deno.readDir(`${root}/${folder}`)) {
      const path = `${folder}/${entry.name}`;
      if (entry.name === "node_modules") continue;
      if (entry.isDirectory) await walk(path);
      else if (entry.name.endsWith(".ts")) files.push(path);
    }
  };
  for (const pattern of patterns) {
    if (pattern.endsWith("/**/*.ts")) await walk(pattern.slice(0, -"/**/*.ts".length));
    else files.push(pattern);
  }
  return files;
}
