/**
 * The Python environment: finds the interpreter, or makes one with venv and pip, pinned.
 *
 * Each finished part leaves a mark in the environment, so a second run skips it and an interrupted
 * one goes on. BULLION_PYTHON names an interpreter that is used as it is; nothing is installed then.
 */
import { BullionError } from "../contract/errors.ts";

const OLDEST = [3, 11];
const CANDIDATES = ["python3.12", "python3.11", "python3.13", "python3", "python"];

export interface EnvironmentSettings {
  root: string; // the project's folder
  named: string | null; // BULLION_PYTHON
  torchIndex: string | null; // BULLION_TORCH_INDEX
  dev: boolean; // the gate's tools as well
  /** What is being done, a line at a time. */
  progress(line: string): void;
}

interface Part {
  name: string;
  requirements: string; // file below py/
  index: string | null;
}

/** The interpreter to use, if there is one ready. */
export async function findPython(root: string, named: string | null): Promise<string | null> {
  if (named) return await runs(named) ? named : null;
  const python = `${root}/.venv/bin/python`;
  const ready = await exists(python) && await exists(`${root}/.venv/bullion.ready`);
  return ready ? python : null;
}

/** Makes the environment, or what of it is missing; returns its interpreter. */
export async function ensurePython(settings: EnvironmentSettings): Promise<string> {
  if (settings.named) {
    if (!await runs(settings.named)) {
      throw new BullionError(
        "python_missing",
        `Cannot start Python as ${settings.named} does not run: correct BULLION_PYTHON (or python ` +
          "in the server's YAML), or unset it to have an environment prepared",
        { param: "python" },
      );
    }
    settings.progress(`Python: ${settings.named}, as BULLION_PYTHON says`);
    return settings.named;
  }
  const venv = `${settings.root}/.venv`;
  const python = `${venv}/bin/python`;
  if (!(await exists(python)) || (await versionOf(python)) === null) {
    const base = await systemPython();
    settings.progress(`Making a Python environment in ${venv} with ${base}`);
    await run(base, ["-m", "venv", "--clear", venv], settings.progress, "venv_failed");
  }
  const parts: Part[] = [
    { name: "torch", requirements: "requirements-torch.txt", index: settings.torchIndex },
    { name: "packages", requirements: "requirements.txt", index: null },
  ];
  if (settings.dev) {
    parts.push({ name: "development", requirements: "requirements-dev.txt", index: null });
  }
  for (const part of parts) await ensurePart(python, venv, part, settings);
  await Deno.writeTextFile(`${venv}/bullion.ready`, "");
  return python;
}

async function ensurePart(
  python: string,
  venv: string,
  part: Part,
  settings: EnvironmentSettings,
): Promise<void> {
  const file = `${settings.root}/py/${part.requirements}`;
  const wanted = await Deno.readTextFile(file);
  const mark = `${venv}/bullion.${part.name}`;
  if (await Deno.readTextFile(mark).catch(() => null) === wanted) return;
  settings.progress(`Installing ${part.name} (${pins(wanted)})`);
  const index = part.index ? ["--index-url", part.index] : [];
  const started = performance.now();
  await run(
    python,
    [
      "-m",
      "pip",
      "install",
      "--disable-pip-version-check",
      "--progress-bar=off",
      ...index,
      "-r",
      file,
    ],
    (line) => {
      const shown = /^(Collecting|Downloading|Installing|Using cached)/.test(line);
      if (shown) settings.progress(`  ${line.slice(0, 96)}`);
    },
    "pip_failed",
  );
  await Deno.writeTextFile(mark, wanted);
  const seconds = Math.round((performance.now() - started) / 1000);
  settings.progress(`Installed ${part.name} in ${seconds} s`);
}

async function systemPython(): Promise<string> {
  for (const name of CANDIDATES) {
    const version = await versionOf(name);
    if (version && (version[0]! > OLDEST[0]! || version[1]! >= OLDEST[1]!)) return name;
  }
  throw new BullionError(
    "python_missing",
    `Cannot prepare Python as none of ${CANDIDATES.join(", ")} is version 3.11 or newer. Install ` +
      `Python 3.11+ with its venv module, or set BULLION_PYTHON to an interpreter that has torch.`,
  );
}

async function runs(python: string): Promise<boolean> {
  try {
    const command = new Deno.Command(python, { args: ["-c", ""], stdout: "null", stderr: "null" });
    return (await command.output()).success;
  } catch {
    return false;
  }
}

async function versionOf(python: string): Promise<[number, number] | null> {
  try {
    const { success, stdout } = await new Deno.Command(python, {
      args: ["-c", "import sys, venv; print(*sys.version_info[:2])"],
      stderr: "null",
    }).output();
    const [major, minor] = new TextDecoder().decode(stdout).trim().split(" ").map(Number);
    return success && major !== undefined && minor !== undefined ? [major, minor] : null;
  } catch {
    return null;
  }
}

async function run(
  command: string,
  args: string[],
  onLine: (line: string) => void,
  code: string,
): Promise<void> {
  const child = new Deno.Command(command, { args, stdout: "piped", stderr: "piped" }).spawn();
  const tail: string[] = [];
  const follow = async (stream: ReadableStream<Uint8Array>) => {
    let rest = "";
    for await (const text of stream.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        tail.push(line);
        if (tail.length > 15) tail.shift();
        onLine(line);
      }
    }
  };
  await Promise.all([follow(child.stdout), follow(child.stderr)]);
  const status = await child.status;
  if (status.success) return;
  throw new BullionError(
    code,
    `${command} ${args.slice(0, 3).join(" ")} ended with exit code ${status.code}:\n${
      tail.join("\n")
    }\nRun the command again once the cause is mended; it goes on where it stopped.`,
  );
}

function pins(requirements: string): string {
  return requirements.split("\n").filter((line) => line && !line.startsWith("#")).join(", ");
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}
