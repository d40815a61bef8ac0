/** The demo's ten questions: chosen from held-out phrasings, asked over HTTP, scored by the value. */
import { heldOutQuestions } from "../core/documents/extractive.ts";
import { loadPhrasings } from "../core/documents/phrasings.ts";
import { readDocument } from "../core/documents/read.ts";
import type { ChatCompletion } from "../contract/chat.ts";

export interface Question {
  text: string;
  answer: string;
  value: string; // what a right answer holds
}

export interface Score {
  base: number;
  tuned: number;
  example: string; // a question that the tuned model answered
}

const TEN = 10;

/** Ten of the first `facts` facts, evenly spread, each in one of its phrasings that no pair uses. */
export async function heldOutTen(
  report: string,
  phrasings: string,
  facts: number,
): Promise<Question[]> {
  const document = await readDocument(await Deno.readFile(report), "sample_report.pdf");
  const held = heldOutQuestions(document, await loadPhrasings(phrasings)).slice(0, facts);
  return Array.from({ length: TEN }, (_, i) => {
    const { fact, questions, answer } = held[Math.floor((i * held.length) / TEN)]!;
    return { text: questions[i % questions.length]!, answer, value: fact.value };
  });
}

/** Asks both models every question, prints the answers beside the right one, and counts. */
export async function askTen(
  url: string,
  questions: Question[],
  models: { base: string; tuned: string },
): Promise<Score> {
  const score: Score = { base: 0, tuned: 0, example: questions[0]!.text };
  for (const [i, { text, answer, value }] of questions.entries()) {
    const base = await ask(url, models.base, text);
    const tuned = await ask(url, models.tuned, text);
    const right = { base: base.includes(value), tuned: tuned.includes(value) };
    if (right.base) score.base += 1;
    if (right.tuned) score.tuned += 1;
    const mark = (yes: boolean) => yes ? "✓" : "✗";
    console.log(`
  ${i + 1}. ${text}
     right     ${answer}
     base    ${mark(right.base)} ${short(base)}
     tuned   ${mark(right.tuned)} ${short(tuned)}`);
  }
  return score;
}

async function ask(url: string, model: string, question: string): Promise<string> {
  const answer = await fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({
      model,
      messages: [{ role: "user", content: question }],
      temperature: 0,
      max_tokens: 64,
    }),
  });
  if (!answer.ok) throw new Error(`${answer.status}: ${await answer.text()}`);
  const completion = await answer.json() as ChatCompletion;
  return completion.choices[0]?.message.content ?? "";
}

function short(text: string): string {
  const line = text.replaceAll("\n", " ");
  return line.length > 90 ? `${line.slice(0, 90)}…` : line;
}
