/** What commands share of configuration: the options, and settings as core and bridge want them. */
import type { ProcessSettings } from "../bridge/process.ts";
import { BullionError } from "../contract/errors.ts";
import { loadServerConfig, type ServerConfig } from "../core/config/server.ts";
import { isAbsolute, join } from "node:path";
import type { Given, Option } from "./command.ts";
import { PROJECT } from "./project.ts";

/** Options of every command that opens the service. */
export const configOptions = {
  data: { type: "string", value: "DIR", help: "data folder (default .bullion)" },
  models: { type: "string", value: "FILE", help: "model aliases (default configs/models.yaml)" },
  config: { type: "string", value: "FILE", help: "the server's YAML, see configs/server.yaml" },
} satisfies Record<string, Option>;

/** Flags win over BULLION_* over the file over defaults. */
export function readConfig(given: Given, overrides: Record<string, unknown> = {}): ServerConfig {
  const flag = (name: string) => given.text(name) ?? undefined;
  return loadServerConfig({
    file: given.text("config") ?? Deno.env.get("BULLION_CONFIG") ?? null,
    env: withoutConfig(Deno.env.toObject()),
    flags: {
      host: flag("host"),
      port: flag("port"),
      data_dir: flag("data"),
      models_file: flag("models"),
      ...overrides,
    },
    cwd: given.cwd,
  });
}

/** The text of the recipe that a command was given. */
export async function readRecipeFile(given: Given): Promise<string> {
  const name = given.positionals[0]!;
  const path = isAbsolute(name) ? name : join(given.cwd, name);
  try {
    return await Deno.readTextFile(path);
  } catch (cause) {
    throw new BullionError(
      "file_not_found",
      `Cannot read ${name}: ${
        (cause as Error).message
      }. Name a YAML file, relative to ${given.cwd}`,
      { cause },
    );
  }
}

/** For callers without a configuration. */
const BRIDGE = { call_timeout_ms: 30_000, start_timeout_ms: 180_000, heartbeat_ms: 1_000 };

export function processSettings(
  python: string,
  log: ProcessSettings["log"],
  bridge: ServerConfig["bridge"] = BRIDGE,
): ProcessSettings {
  return {
    python,
    packagePath: `${PROJECT}/py`,
    env: Deno.env.toObject(),
    callTimeoutMs: bridge.call_timeout_ms,
    startTimeoutMs: bridge.start_timeout_ms,
    heartbeatMs: bridge.heartbeat_ms,
    log,
  };
}

/** BULLION_CONFIG names the file itself and is no setting in it. */
function withoutConfig(env: Record<string, string>): Record<string, string> {
  const { BULLION_CONFIG: _, ...rest } = env;
  return rest;
}
