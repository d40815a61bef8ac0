/**
 * The learning-rate schedules by name, and what `lr_scheduler_kwargs` may tell each of them.
 *
 * Names and arguments are those of transformers' functions, which Python calls with them.
 */
import type { ValueType } from "./keys/key.ts";
import { choice, float, integer } from "./keys/value_types.ts";
import { instead } from "./nearest.ts";

const positive = float({ above: 0 });
const share = float({ min: 0, max: 1 });
const shape = choice("linear", "cosine", "1-sqrt");

export const SCHEDULES = {
  linear: {},
  cosine: { num_cycles: positive },
  constant: {},
  constant_with_warmup: {},
  cosine_with_restarts: { num_cycles: integer({ min: 1 }) },
  polynomial: { lr_end: float({ min: 0 }), power: positive },
  inverse_sqrt: { timescale: integer({ min: 1 }) },
  cosine_with_min_lr: { num_cycles: positive, min_lr: float({ min: 0 }), min_lr_rate: share },
  warmup_stable_decay: {
    num_decay_steps: integer({ min: 1 }),
    num_stable_steps: integer({ min: 0 }),
    warmup_type: shape,
    decay_type: shape,
    min_lr_ratio: share,
    num_cycles: positive,
  },
} satisfies Record<string, Record<string, ValueType<unknown>>>;
export type ScheduleName = keyof typeof SCHEDULES;

type Written = Record<string, unknown> | null;

const argumentsOf = (schedule: ScheduleName): Record<string, ValueType<unknown>> =>
  SCHEDULES[schedule];

/** The arguments as they are meant: `1e-5` is a number also where YAML takes it for a text. */
export function scheduleArguments(schedule: ScheduleName, written: Written) {
  return Object.fromEntries(
    Object.entries(written ?? {}).map((
      [name, raw],
    ) => [name, argumentsOf(schedule)[name]?.read(raw, null)]),
  );
}

/** What is wrong with the arguments of a schedule; null: nothing. */
export function scheduleFault(schedule: ScheduleName, written: Written): string | null {
  const known = argumentsOf(schedule);
  for (const [name, raw] of Object.entries(written ?? {})) {
    if (!Object.hasOwn(known, name)) {
      const names = Object.keys(known);
      return names.length === 0
        ? `${schedule} takes no arguments; take ${name} out`
        : `${schedule} has no argument ${name}; ${instead(name, names)}`;
    }
    if (known[name]!.read(raw, null) === undefined) {
      return `${name} must be ${known[name]!.expects}, got ${JSON.stringify(raw)}`;
    }
  }
  return missing(schedule, Object.keys(written ?? {}));
}

/** Arguments of which transformers wants exactly one, or one with another. */
function missing(schedule: ScheduleName, names: string[]): string | null {
  const has = (name: string) => names.includes(name);
  if (schedule === "cosine_with_min_lr" && has("min_lr") === has("min_lr_rate")) {
    return "cosine_with_min_lr needs either min_lr (a learning rate) or min_lr_rate (its share of " +
      "learning_rate)";
  }
  if (schedule === "warmup_stable_decay" && has("num_stable_steps") && !has("num_decay_steps")) {
    return "num_stable_steps needs num_decay_steps beside it";
  }
  return null;
}
