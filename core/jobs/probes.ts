/**
 * Prompts on which a merge is verified: questions that the adapter was trained on, where they are
 * known, and otherwise general ones.
 */
import { TrainingRecord } from "../../contract/dataset.ts";

const MOST = 8;

const GENERAL = [
  "请介绍一下这家公司的主营业务。",
  "公司报告期内的营业收入是多少？",
  "What was the company's revenue in the reporting period?",
  "Summarise the main risks that the annual report names.",
];

/** At most eight first questions of the given canonical files; never empty. */
export async function probesFrom(files: string[]): Promise<string[]> {
  const prompts: string[] = [];
  for (const file of files) {
    for (const line of await firstLines(file, MOST - prompts.length)) {
      const record = TrainingRecord.safeParse(JSON.parse(line));
      if (record.success) prompts.push(record.data.turns[0]!.content);
    }
  }
  return prompts.length > 0 ? prompts : GENERAL;
}

/** Reads no more of the file than it needs. None where it is gone. */
async function firstLines(path: string, count: number): Promise<string[]> {
  const lines: string[] = [];
  let rest = "";
  try {
    using file = await Deno.open(path);
    const decoder = new TextDecoder();
    const buffer = new Uint8Array(65_536);
    while (lines.length < count) {
      const read = await file.read(buffer);
      rest += decoder.decode(buffer.subarray(0, read ?? 0), { stream: read !== null });
      const parts = rest.split("\n");
      rest = parts.pop()!;
      lines.push(...parts.filter((part) => part !== ""));
      if (read === null) break;
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return lines.slice(0, count);
}
