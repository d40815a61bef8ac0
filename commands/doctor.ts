/** `doctor`: what this machine can do, and what to do about what is missing. */
import { findPython } from "../bridge/environment.ts";
import { Trainer } from "../bridge/trainer.ts";
import { BullionError } from "../contract/errors.ts";
import type { ServerConfig } from "../core/config/server.ts";
import { readAliases } from "../core/models/aliases.ts";
import { lookAt } from "../core/models/folder.ts";
import type { Command } from "./command.ts";
import { configOptions, processSettings, readConfig } from "./configuration.ts";
import { PROJECT } from "./project.ts";

/** GPU memory that the reference job needs at least, 10^9 bytes; less runs with smaller plans. */
const COMFORTABLE_GB = 24;

type Finding = { state: "ok" | "note" | "missing"; what: string; advice?: string };

export const doctor: Command = {
  name: "doctor",
  summary: "Say what this machine can do and what to do about what is missing",
  positionals: [],
  options: configOptions,
  async run(given) {
    const config = readConfig(given);
    const findings: Finding[] = [{ state: "ok", what: `Deno ${Deno.version.deno}` }];
    const python = await findPython(PROJECT, config.python);
    if (python === null) {
      findings.push({
        state: "missing",
        what: "Python environment",
        advice: config.python
          ? `${config.python} does not run: correct BULLION_PYTHON, or unset it and run \`deno task setup\``
          : "run `deno task setup`, or set BULLION_PYTHON to an interpreter that has torch",
      });
    } else {
      findings.push({ state: "ok", what: `Python interpreter ${python}` });
      findings.push(...await machineFindings(python));
    }
    findings.push(...modelFindings(config));
    for (const { state, what, advice } of findings) {
      const mark = { ok: "✓", note: "·", missing: "✗" }[state];
      console.log(`${mark} ${what}${advice ? `\n    → ${advice}` : ""}`);
    }
    return findings.some(({ state }) => state === "missing") ? 1 : 0;
  },
};

async function machineFindings(python: string): Promise<Finding[]> {
  const trainer = new Trainer(processSettings(python, () => {}));
  for await (const event of trainer.start({ type: "probe", id: "doctor" }).events) {
    if (event.type === "finished") return describe(event.result);
    if (event.type === "failed") {
      const { code, message } = BullionError.from(event.error);
      return [{ state: "missing", what: `Python's libraries (${code})`, advice: message }];
    }
  }
  return [];
}

function describe(machine: Record<string, unknown>): Finding[] {
  const libraries = machine.libraries as Record<string, string | null>;
  const gpus = machine.gpus as { name: string; memory_bytes: number; free_bytes: number }[];
  const findings: Finding[] = [{
    state: "ok",
    what: `Python ${machine.python}, ${machine.cpus} processors, ${
      gigabytes(machine.memory_bytes)
    }`,
  }];
  for (const [name, version] of Object.entries(libraries)) {
    findings.push(version ? { state: "ok", what: `${name} ${version}` } : absent(name));
  }
  for (const gpu of gpus) {
    const what = `${gpu.name}, ${gigabytes(gpu.memory_bytes)}, ${gigabytes(gpu.free_bytes)} free`;
    const small = gpu.memory_bytes < COMFORTABLE_GB * 1e9;
    const advice = "an 8 B model trains here with a smaller plan: see memory_limit_gb";
    findings.push(small ? { state: "note", what, advice } : { state: "ok", what });
  }
  if (gpus.length === 0) {
    findings.push({
      state: "note",
      what: "no GPU that torch can use",
      advice: "the embedded base runs on the processor (`deno task demo`); an 8 B model wants a " +
        "CUDA GPU of 24 GB or more and the CUDA build of torch",
    });
  }
  return findings;
}

/** Libraries that only some work needs, and what that is. */
function absent(name: string): Finding {
  const needed: Record<string, string> = {
    bitsandbytes: "quantization_bit and adamw_8bit",
    llguidance: "response_format json_object and json_schema",
  };
  const use = needed[name];
  return use
    ? { state: "note", what: `${name} is not installed`, advice: `needed for ${use} only` }
    : { state: "missing", what: name, advice: "run `deno task setup`" };
}

function modelFindings(config: ServerConfig): Finding[] {
  const findings: Finding[] = [{ state: "ok", what: `model names from ${config.models_file}` }];
  for (const [name, { path, hub }] of readAliases(config.models_file)) {
    if (hub !== null) {
      findings.push({ state: "ok", what: `  ${name}: ${path}, fetched from ${hub}` });
      continue;
    }
    const found = lookAt(path).kind === "model";
    const advice =
      "put the model there (config.json, *.safetensors, tokenizer), or correct the path";
    findings.push(
      found
        ? { state: "ok", what: `  ${name}: ${path}` }
        : { state: "missing", what: `  ${name}: no model in ${path}`, advice },
    );
  }
  findings.push({ state: "ok", what: `other names are looked up at ${config.hub}` });
  return findings;
}

function gigabytes(bytes: unknown): string {
  return typeof bytes === "number" ? `${(bytes / 1e9).toFixed(1)} GB` : "unknown memory";
}
