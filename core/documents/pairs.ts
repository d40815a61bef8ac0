/** Question-answer pairs as data sets: alpaca JSON and OpenAI's chat JSONL, each pair once. */
import type { Pair } from "../../contract/document.ts";

/** Without pairs whose question and answer both stood before; the order stays. */
function distinct(pairs: Iterable<Pair>): Pair[] {
  const seen = new Set<string>();
  return [...pairs].filter(({ question, answer }) => {
    const key = JSON.stringify([question, answer]);
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}

/** A JSON array of {instruction, input, output}, as LLaMA-Factory's data sets have it. */
export function toAlpaca(pairs: Iterable<Pair>): string {
  const records = distinct(pairs).map(({ question, answer }) => ({
    instruction: question,
    input: "",
    output: answer,
  }));
  return JSON.stringify(records, null, 2) + "\n";
}

/** One {"messages": [user, assistant]} a line, as OpenAI's fine-tuning files have it. */
export function toOpenAI(pairs: Iterable<Pair>): string {
  return distinct(pairs).map(({ question, answer }) =>
    JSON.stringify({
      messages: [{ role: "user", content: question }, { role: "assistant", content: answer }],
    }) + "\n"
  ).join("");
}
