/**
 * The server's configuration: flags before environment before file before defaults, read once, frozen.
 *
 * All faults are reported together, each with the place it was written at. Settings and defaults are
 * in server_schema.ts, the places they are written in are in server_layers.ts.
 */
import { isAbsolute, join } from "node:path";
import { fileURLToPath } from "node:url";
import { stringify } from "@std/yaml";
import { Faults } from "./faults.ts";
import { layerEnvironment, layerFile, layerFlags, type Place, type Tree } from "./server_layers.ts";
import { ServerSettings } from "./server_schema.ts";

/** Settings with their paths made absolute; `models_file` always names a file. */
export type ServerConfig = DeepReadonly<ServerSettings & { models_file: string }>;

type DeepReadonly<T> = T extends (infer U)[] ? readonly DeepReadonly<U>[]
  : T extends object ? { readonly [K in keyof T]: DeepReadonly<T[K]> }
  : T;

export interface ServerConfigSources {
  /** Path of a YAML like configs/server.yaml. It must exist when it is named. */
  file?: string | null;
  env?: Record<string, string | undefined>;
  /** By dotted path, as a command parsed them: `{port: 8322, "engine.threads": 1}`. */
  flags?: Record<string, unknown>;
  /** Where the user typed the command; relative paths start here. */
  cwd?: string;
}

/** Throws `invalid_config` with every fault at once. Reads the file, nothing else. */
export function loadServerConfig(sources: ServerConfigSources = {}): ServerConfig {
  const { file = null, env = {}, flags = {}, cwd = env.INIT_CWD ?? Deno.cwd() } = sources;
  const faults = new Faults();
  const tree: Tree = {};
  const places = new Map<string, Place>();
  if (file !== null) layerFile(absolute(file, cwd), { tree, places, faults });
  layerEnvironment(env, { tree, places, faults });
  layerFlags(flags, { tree, places, faults });

  const parsed = ServerSettings.safeParse(tree);
  for (const issue of parsed.error?.issues ?? []) {
    const path = issue.path.map(String);
    if (issue.code === "unrecognized_keys") continue; // reported where they were read
    const place = places.get(path.join(".")) ?? places.get(path.slice(0, -1).join("."));
    // A key that is no text is still a secret.
    const got = path[0] === "api_keys" ? "***" : JSON.stringify(valueAt(tree, path)) ?? "nothing";
    faults.add(
      place?.name ?? path.join("."),
      place?.line ?? null,
      `${lowerFirst(issue.message)}, got ${got}`,
    );
  }
  const settings = parsed.data;
  if (settings && !isLoopback(settings.host) && settings.api_keys.length === 0) {
    const place = places.get("host");
    faults.add(
      place?.name ?? "host",
      place?.line ?? null,
      `${settings.host} can be reached by others, so api_keys must hold at least one key ` +
        `(BULLION_API_KEYS=…); or listen on 127.0.0.1`,
    );
  }
  faults.raise("invalid_config", "the server's configuration");
  return deepFreeze({
    ...settings!,
    data_dir: absolute(settings!.data_dir, cwd),
    models_file: settings!.models_file === null
      ? fileURLToPath(new URL("../../configs/models.yaml", import.meta.url))
      : absolute(settings!.models_file, cwd),
    python: pythonPath(settings!.python, cwd),
  });
}

/** The resolved values as YAML, for the log; API keys are counted, never shown. */
export function describeServerConfig(config: ServerConfig): string {
  return stringify({ ...config, api_keys: config.api_keys.map(() => "***") });
}

export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || host === "[::1]" || /^127(\.\d+){3}$/.test(host);
}

function valueAt(tree: Tree, path: string[]): unknown {
  return path.reduce<unknown>(
    (node, key) => node !== null && typeof node === "object" ? (node as Tree)[key] : undefined,
    tree,
  );
}

function absolute(path: string, cwd: string): string {
  return isAbsolute(path) ? path : join(cwd, path);
}

/** A bare word such as `python3.12` is looked up in PATH, so it stays as it is. */
function pythonPath(python: string | null, cwd: string): string | null {
  return python === null || !python.includes("/") ? python : absolute(python, cwd);
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}

function deepFreeze<T>(value: T): DeepReadonly<T> {
  if (value !== null && typeof value === "object") {
    Object.values(value).forEach(deepFreeze);
    Object.freeze(value);
  }
  return value as DeepReadonly<T>;
}
