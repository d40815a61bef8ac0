/** What becomes of one source record, and the order of turns that every format must keep. */
import type { Turn } from "../../contract/dataset.ts";

export interface Converted {
  system: string | null;
  tools: string | null;
  turns: Turn[];
}

export type Conversion = Converted | { drop: string } | { fault: string };

/** Thrown inside a conversion, caught by `convertRecord` in formats.ts. */
export class RecordFault extends Error {}

/** Questions (user, observation) and answers (assistant, function_call) take turns; null if they do. */
export function wrongOrder(turns: Turn[]): string | null {
  if (turns.length === 0) return "has no turn";
  for (const [place, { role }] of turns.entries()) {
    const asks = role === "user" || role === "observation";
    if (asks !== (place % 2 === 0)) {
      const expected = place % 2 === 0 ? "user or observation" : "assistant or function_call";
      return `turn ${place + 1} is ${role} where ${expected} is due`;
    }
  }
  return turns.length % 2 === 0 ? null : `ends with ${turns.at(-1)!.role}, without an answer`;
}
