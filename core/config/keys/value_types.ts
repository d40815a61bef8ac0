/**
 * The types of values in LLaMA-Factory's YAML, with the spellings that its users get away with:
 * `1e-4` as number or string, `yes` and `off`, lists or strings with commas.
 */
import type { ValueType } from "./key.ts";

const TRUE = /^(true|yes|on|1)$/i;
const FALSE = /^(false|no|off|0)$/i;
const NUMBER = /^[-+]?(\d[\d_]*\.?\d*|\.\d+)([eE][-+]?\d+)?$/;

export const boolean: ValueType<boolean> = {
  expects: "true or false",
  read(raw) {
    if (typeof raw === "boolean") return raw;
    if (raw === 0 || raw === 1) return raw === 1;
    if (typeof raw !== "string") return undefined;
    if (TRUE.test(raw)) return true;
    return FALSE.test(raw) ? false : undefined;
  },
};

interface Bounds {
  min?: number;
  max?: number;
  above?: number;
  below?: number;
}

export function float(bounds: Bounds = {}): ValueType<number> {
  return {
    expects: `a number${spoken(bounds)}`,
    read(raw, source) {
      const value = asNumber(raw, source);
      return value !== undefined && within(value, bounds) ? value : undefined;
    },
  };
}

export function integer(bounds: Bounds = {}): ValueType<number> {
  return {
    expects: `an integer${spoken(bounds)}`,
    read(raw, source) {
      const value = asNumber(raw, source);
      return Number.isSafeInteger(value) && within(value!, bounds) ? value : undefined;
    },
  };
}

export const text: ValueType<string> = {
  expects: "a text (in quotes, if YAML takes it for something else)",
  read(raw, source) {
    if (typeof raw === "string") return raw;
    if (typeof raw === "number" || raw instanceof Date) return source ?? String(raw);
    return undefined;
  },
};

/** A list, or one text with commas. Empty items are left out. */
export const list: ValueType<string[]> = {
  expects: "a list, or names with commas between them",
  read(raw, source) {
    const items = Array.isArray(raw) ? raw : text.read(raw, source)?.split(",");
    const names = items?.map((item) => text.read(item, null)?.trim());
    return names?.every((name) => name !== undefined)
      ? names.filter((name): name is string => name !== "")
      : undefined;
  },
};

export const mapping: ValueType<Record<string, unknown>> = {
  expects: "a mapping of keys to values",
  read(raw) {
    const value = typeof raw === "string" ? parsedJson(raw) : raw;
    return value !== null && typeof value === "object" && !Array.isArray(value) &&
        !(value instanceof Date)
      ? value as Record<string, unknown>
      : undefined;
  },
};

/** One of a few words. `no` may be written bare, though YAML 1.1 reads it as false. */
export function choice<const W extends string>(...words: W[]): ValueType<W> {
  return {
    words,
    expects: words.length === 1 ? `only ${words[0]}` : `one of ${words.join(", ")}`,
    read(raw, source) {
      const word = raw === false && words.some((w) => w === "no") ? "no" : text.read(raw, source);
      return words.find((known) => known === word);
    },
  };
}

export function orNull<T>(type: ValueType<T>): ValueType<T | null> {
  return {
    words: type.words,
    expects: `${type.expects}, or null`,
    read: (raw, source) => raw === null ? null : type.read(raw, source),
  };
}

/** The first of the types that understands the value. */
export function either<A, B>(a: ValueType<A>, b: ValueType<B>): ValueType<A | B> {
  return {
    expects: `${a.expects}, or ${b.expects}`,
    read: (raw, source) => a.read(raw, source) ?? b.read(raw, source),
  };
}

/** For keys that change nothing here: what is written is not looked into. */
export const anything: ValueType<unknown> = { expects: "any value", read: (raw) => raw };

function asNumber(raw: unknown, source: string | null): number | undefined {
  const written = typeof raw === "string" ? raw.trim() : source;
  // The text as typed decides where there is one: YAML 1.1 makes 8 of 010 and 90 of 1:30.
  if (written !== null && NUMBER.test(written)) {
    const value = Number(written.replaceAll("_", ""));
    return Number.isFinite(value) ? value : undefined;
  }
  return typeof raw === "number" && source === null && Number.isFinite(raw) ? raw : undefined;
}

function within(value: number, { min, max, above, below }: Bounds): boolean {
  return value >= (min ?? -Infinity) && value <= (max ?? Infinity) &&
    value > (above ?? -Infinity) && value < (below ?? Infinity);
}

function spoken({ min, max, above, below }: Bounds): string {
  if (min !== undefined && below !== undefined) return ` from ${min} to below ${below}`;
  if (min !== undefined && max !== undefined) return ` from ${min} to ${max}`;
  if (above !== undefined && max !== undefined) return ` above ${above}, ${max} at most`;
  if (above !== undefined) return ` above ${above}`;
  if (min !== undefined) return ` of at least ${min}`;
  return max === undefined ? "" : ` of at most ${max}`;
}

function parsedJson(raw: string): unknown {
  try {
    return JSON.parse(raw);
  } catch {
    return undefined;
  }
}
