/**
 * Faults of a configuration: collected while reading, raised together.
 *
 * One owner a reading; nothing is thrown before everything has been looked at.
 */
import { BullionError } from "../../contract/errors.ts";

export interface Fault {
  /** The key as the user writes it: `engine.threads`, `lora_rank`, `BULLION_PORT`, `--port`. */
  key: string;
  /** From 1 in the YAML; null when the value came from elsewhere. */
  line: number | null;
  /** What is wrong, which value, what to do. */
  message: string;
}

export class Faults {
  readonly #faults: Fault[] = [];

  add(key: string, line: number | null, message: string): void {
    this.#faults.push({ key, line, message });
  }

  get list(): readonly Fault[] {
    return this.#faults;
  }

  /**
   * Throws one error that holds every fault, in the order of their lines; does nothing without any.
   * `param` is the first fault's key, as OpenAI's error shape has room for one.
   */
  raise(code: string, what: string): void {
    if (this.#faults.length === 0) return;
    const sorted = this.#faults.toSorted((a, b) => (a.line ?? Infinity) - (b.line ?? Infinity));
    const parts = sorted.map(({ key, line, message }) =>
      `${line === null ? "" : `line ${line}, `}${key}: ${message}`
    );
    const text = parts.length === 1
      ? `Cannot use ${what}: ${parts[0]}`
      : `Cannot use ${what}, ${parts.length} faults:\n` +
        parts.map((part) => `- ${part}`).join("\n");
    throw new BullionError(code, text, { param: sorted[0]!.key });
  }
}
