/** Where the project lies, and how its commands are started: as `deno task` would, with its permissions. */
import configuration from "../../deno.json" with { type: "json" };

export const root = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");
export const deno = Deno.execPath();

const python = Deno.env.get("BULLION_TEST_PYTHON") ?? Deno.env.get("BULLION_PYTHON") ??
  `${root}/.venv/bin/python`;

/** One thread: the embedded base is small, and several processes share the cores. */
export const environment = { BULLION_PYTHON: python, OMP_NUM_THREADS: "1" };

export function permissionsOf(task: keyof typeof configuration.tasks): string[] {
  return configuration.tasks[task].split(" ").filter((word) => word.startsWith("--"));
}

export interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs a program to its end. */
export async function run(
  program: string,
  args: string[],
  options: { cwd?: string; env?: Record<string, string> } = {},
): Promise<Ended> {
  const { code, stdout, stderr } = await new Deno.Command(program, {
    args,
    cwd: options.cwd ?? root,
    env: { ...environment, ...options.env },
    stdin: "null",
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

/** A command as a user types it in `cwd`. */
export function command(name: keyof typeof configuration.tasks, args: string[], cwd: string) {
  const words = ["run", ...permissionsOf(name), `${root}/main.ts`, name, ...args];
  return run(deno, words, { cwd, env: { INIT_CWD: cwd } });
}

export interface Process {
  pid: number;
  group: number;
  command: string;
}

// Deno reads /proc with all permissions only; a shell does not ask. State, parent and group follow the name.
const LISTING =
  'for p in /proc/[0-9]*; do echo "${p#/proc/}|$(cat $p/stat)|$(tr "\\0" " " <$p/cmdline)"; done';

/** Every process of this machine (Linux) that has not ended. */
export function processes(): Process[] {
  const { stdout } = new Deno.Command("sh", { args: ["-c", LISTING], stderr: "null" }).outputSync();
  return new TextDecoder().decode(stdout).split("\n").flatMap((line) => {
    const [, pid, state, group, command] =
      /^(\d+)\|\d+ \(.*\) (\w) \d+ (\d+) [^|]*\|(.*)$/.exec(line) ?? [];
    if (state === undefined || state === "Z") return [];
    return [{ pid: Number(pid), group: Number(group), command: command! }];
  });
}
