/**
 * The server's configuration: flags before environment before file before defaults, read once, frozen.
 *
 * All faults are reported together, each with the place it was written at. Settings and defaults are
 * in server_schema.ts.
 */
import { isAbsolute, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse, stringify } from "@std/yaml";
import { BullionError } from "../../contract/errors.ts";
import { Faults } from "./faults.ts";
import { editDistance, nearest } from "./nearest.ts";
import { ServerSettings, settingPaths } from "./server_schema.ts";
import { readYamlMapping } from "./yaml.ts";
import type { YamlEntry } from "./yaml.ts";

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

/** Names that people type more often than the setting's own: `BULLION_DATA` is data_dir. */
const SHORT_NAMES: Record<string, string> = {
  BULLION_DATA: "data_dir",
  BULLION_MODELS: "models_file",
};

/** Flags that are spelled shorter than their setting. */
const FLAG_NAMES: Record<string, string> = { data_dir: "--data", models_file: "--models" };

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
    const got = valueAt(tree, path);
    faults.add(
      place?.name ?? path.join("."),
      place?.line ?? null,
      `${lowerFirst(issue.message)}, got ${JSON.stringify(got) ?? "nothing"}`,
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

/** The environment variable of a setting: `engine.threads` is BULLION_ENGINE__THREADS. */
export function environmentName(path: string[]): string {
  const short = Object.entries(SHORT_NAMES).find(([, key]) => key === path.join("."));
  return short?.[0] ?? "BULLION_" + path.join("__").toUpperCase();
}

export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || host === "[::1]" || /^127(\.\d+){3}$/.test(host);
}

type Tree = Record<string, unknown>;

interface Place {
  name: string; // as the user wrote it
  line: number | null;
}

interface Layering {
  tree: Tree;
  places: Map<string, Place>; // by dotted path: who had the last word
  faults: Faults;
}

const PATHS = settingPaths();
const BY_NAME = new Map(PATHS.map((setting) => [setting.path.join("."), setting]));
const SECTIONS = new Set(PATHS.filter(({ path }) => path.length > 1).map(({ path }) => path[0]!));

function layerFile(file: string, layering: Layering): void {
  let text: string;
  try {
    text = Deno.readTextFileSync(file);
  } catch (cause) {
    const why = cause instanceof Deno.errors.NotFound ? "does not exist" : "cannot be read";
    throw new BullionError("invalid_config", `Cannot start as the configuration ${file} ${why}`, {
      param: "config",
      cause,
    });
  }
  const walk = (entries: YamlEntry[], path: string[]): void => {
    for (const { key, line, value, entries: nested } of entries) {
      const here = [...path, key];
      const name = here.join(".");
      if (path.length === 0 && SECTIONS.has(key)) {
        if (nested !== null) walk(nested, here);
        else if (value !== null) {
          layering.faults.add(name, line, "holds further keys, each on a line of its own");
        }
      } else if (BY_NAME.has(name)) {
        set(layering, here, value, { name, line });
      } else {
        const known = nearest(name, BY_NAME.keys());
        layering.faults.add(name, line, `there is no such setting; the nearest one is ${known}`);
      }
    }
  };
  walk(readYamlMapping(text, layering.faults), []);
}

function layerEnvironment(env: Record<string, string | undefined>, layering: Layering): void {
  const names = new Map(PATHS.map(({ path }) => [environmentName(path), path]));
  for (const path of [["data_dir"], ["models_file"]]) {
    names.set("BULLION_" + path[0]!.toUpperCase(), path);
  }
  if (/^(1|true|yes|on)$/i.test(env.USE_MODELSCOPE_HUB ?? "")) {
    set(layering, ["hub"], "modelscope", { name: "USE_MODELSCOPE_HUB", line: null });
  }
  for (const [name, text] of Object.entries(env)) {
    if (!name.startsWith("BULLION_") || text === undefined || text === "") continue;
    const path = names.get(name);
    if (path !== undefined) {
      const { schema } = BY_NAME.get(path.join("."))!;
      const value = schema.safeParse(text).success ? text : parse(text, { version: "1.1" });
      set(layering, path, value, { name, line: null });
      continue;
    }
    // Other parts of Bullion have variables of their own, so only a slip of the pen is a fault.
    const known = nearest(name, names.keys())!;
    if (editDistance(name, known) <= 2) {
      layering.faults.add(name, null, `there is no such variable; the nearest one is ${known}`);
    }
  }
}

function layerFlags(flags: Record<string, unknown>, layering: Layering): void {
  for (const [name, value] of Object.entries(flags)) {
    if (value === undefined) continue;
    const flag = FLAG_NAMES[name] ?? `--${name.replaceAll("_", "-")}`;
    const setting = BY_NAME.get(name);
    if (setting === undefined) {
      const known = nearest(name, BY_NAME.keys());
      layering.faults.add(flag, null, `there is no such setting; the nearest one is ${known}`);
    } else {
      const asText = typeof value === "string" && !setting.schema.safeParse(value).success;
      const meant = asText ? parse(value, { version: "1.1" }) : value;
      set(layering, setting.path, meant, { name: flag, line: null });
    }
  }
}

function set({ tree, places }: Layering, path: string[], value: unknown, place: Place): void {
  const [first, second] = path as [string, string | undefined];
  if (second === undefined) tree[first] = value;
  else tree[first] = { ...tree[first] as Tree | undefined, [second]: value };
  places.set(path.join("."), place);
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
