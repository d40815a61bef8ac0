// How tests reach Python: the project's interpreter, and settings for a process.
import type { ProcessSettings } from "../../bridge/process.ts";

const root = new URL("../../", import.meta.url).pathname;

export const python = Deno.env.get("BULLION_PYTHON") ?? `${root}.venv/bin/python`;

export const packages = {
  real: `${root}py`,
  faulty: `${root}tests/bridge/fixtures/faulty`,
  none: `${root}tests/bridge/fixtures`,
};

export const OPENING = {
  role: "engine" as const,
  threads: null,
  kv_memory_gb: null,
  max_running: 1,
  max_waiting: 1,
  prefill_tokens: 1,
  cuda_graphs: false,
};

export function settings(
  packagePath: string,
  more: Partial<ProcessSettings> = {},
): ProcessSettings & { lines: string[] } {
  const lines: string[] = [];
  return {
    python,
    packagePath,
    env: { PATH: Deno.env.get("PATH") ?? "" },
    callTimeoutMs: 20_000,
    startTimeoutMs: 60_000,
    heartbeatMs: 60_000, // nothing here may depend on it
    log: (line) => lines.push(line),
    lines,
    ...more,
  };
}
