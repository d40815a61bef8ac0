/**
 * What one key of LLaMA-Factory's YAML is: its type, its default, and what comes of writing it here.
 *
 * The tables beside this file are made of these; reading a YAML by them is core/config/llamafactory.
 */

/** What a YAML is for. A key outside its scopes is an error, as it is for LLaMA-Factory. */
export type Scope = "train" | "predict" | "export" | "chat";

/** How a raw value is understood; `read` gives undefined for one that is not of this type. */
export interface ValueType<T> {
  /** For messages: "an integer of at least 1". */
  readonly expects: string;
  /** `source` is the plain text as typed, where there is one: a date or an octal stays what was meant. */
  read(raw: unknown, source: string | null): T | undefined;
  /** Of a type that is a few words: those. */
  readonly words?: readonly string[];
}

/** What a user must know of a value that is honoured; null: nothing. */
export type NoteOn = (value: unknown) => string | null;

export type Effect =
  /** Honoured in these scopes; in others that allow the key it is accepted and named. */
  | { readonly kind: "honoured"; readonly scopes: readonly Scope[]; readonly note?: NoteOn }
  /** Accepted, changes nothing, for this reason. */
  | { readonly kind: "no_effect"; readonly reason: string }
  /** Any value but the default is refused, for this reason. */
  | { readonly kind: "refused"; readonly reason: string; readonly secret?: boolean };

export interface Key<T> {
  readonly type: ValueType<T>;
  readonly default: T;
  readonly effect: Effect;
}

export type KeyTable = Record<string, Key<unknown>>;

export function key<T>(type: ValueType<T>, fallback: NoInfer<T>, effect: Effect): Key<T> {
  return { type, default: fallback, effect };
}

export const honoured = (...scopes: Scope[]): Effect => ({ kind: "honoured", scopes });
export const honouredWith = (note: NoteOn, ...scopes: Scope[]): Effect => ({
  kind: "honoured",
  scopes,
  note,
});
export const noEffect = (reason: string): Effect => ({ kind: "no_effect", reason });
export const refused = (reason: string): Effect => ({ kind: "refused", reason });
/** Refused without repeating the value, which would carry it into answers and logs. */
export const refusedSecret = (reason: string): Effect => ({
  kind: "refused",
  reason,
  secret: true,
});
