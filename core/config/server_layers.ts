/**
 * The three places a setting can be written in: a file, the environment, flags. Each lays its values over
 * what is there and remembers where they came from; none checks what they mean.
 */
import { parse } from "@std/yaml";
import { BullionError } from "../../contract/errors.ts";
import type { Faults } from "./faults.ts";
import { editDistance, instead, nearest } from "./nearest.ts";
import { settingPaths } from "./server_schema.ts";
import { readYamlMapping } from "./yaml.ts";
import type { YamlEntry } from "./yaml.ts";

/** Names that people type more often than the setting's own: `BULLION_DATA` is data_dir. */
const SHORT_NAMES: Record<string, string> = {
  BULLION_DATA: "data_dir",
  BULLION_MODELS: "models_file",
};

/** Flags that are spelled shorter than their setting. */
const FLAG_NAMES: Record<string, string> = { data_dir: "--data", models_file: "--models" };

/** The environment variable of a setting: `engine.threads` is BULLION_ENGINE__THREADS. */
export function environmentName(path: string[]): string {
  const short = Object.entries(SHORT_NAMES).find(([, key]) => key === path.join("."));
  return short?.[0] ?? "BULLION_" + path.join("__").toUpperCase();
}

/** Settings as written, by section; checked by the schema afterwards. */
export type Tree = Record<string, unknown>;

/** Who had the last word on a setting. */
export interface Place {
  name: string; // as the user wrote it
  line: number | null;
}

export interface Layering {
  tree: Tree;
  places: Map<string, Place>; // by dotted path
  faults: Faults;
}

const PATHS = settingPaths();
const BY_NAME = new Map(PATHS.map((setting) => [setting.path.join("."), setting]));
const SECTIONS = new Set(PATHS.filter(({ path }) => path.length > 1).map(({ path }) => path[0]!));

export function layerFile(file: string, layering: Layering): void {
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
        const known = instead(name, BY_NAME.keys());
        layering.faults.add(name, line, `there is no such setting; ${known}`);
      }
    }
  };
  walk(readYamlMapping(text, layering.faults) ?? [], []);
}

export function layerEnvironment(
  env: Record<string, string | undefined>,
  layering: Layering,
): void {
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
    const known = nearest(name, names.keys());
    if (known !== null && editDistance(name, known) <= 2) {
      layering.faults.add(name, null, `there is no such variable; the nearest one is ${known}`);
    }
  }
}

export function layerFlags(flags: Record<string, unknown>, layering: Layering): void {
  for (const [name, value] of Object.entries(flags)) {
    if (value === undefined) continue;
    const flag = FLAG_NAMES[name] ?? `--${name.replaceAll("_", "-")}`;
    const setting = BY_NAME.get(name);
    if (setting === undefined) {
      const known = instead(name, BY_NAME.keys());
      layering.faults.add(flag, null, `there is no such setting; ${known}`);
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
