/**
 * Answers without a character that is seen. LLaMA-Factory trains them, and so the model learns to say
 * nothing; they are trained here as well, and the user is told which they are.
 */
import type { Turn } from "../../contract/dataset.ts";

const SHOWN = 10;

export class EmptyAnswers {
  readonly #places: string[] = [];

  look(turns: readonly Turn[], { index, line }: { index: number; line: number }): void {
    if (turns.some(({ role, content }) => role === "assistant" && content.trim() === "")) {
      this.#places.push(`record ${index} in line ${line}`);
    }
  }

  notes(): string[] {
    const count = this.#places.length;
    if (count === 0) return [];
    const shown = this.#places.slice(0, SHOWN).join(", ");
    const more = count > SHOWN ? ` and ${count - SHOWN} more` : "";
    return [
      `${count} ${
        count === 1 ? "record has" : "records have"
      } an empty answer (${shown}${more}); ` +
      "the model learns to say nothing there: fill it in, or take the record out",
    ];
  }
}
