/**
 * A training's numbers as the CSV that OpenAI's `result_files` hold: a line a step that was reported.
 *
 * Accuracies are there where they were computed. Steps that an interruption made run twice stand once,
 * as they were run last. Pure; who stores the text is core/jobs/results.
 */
import type { JobEventBody } from "../../contract/job.ts";

const COLUMNS = [
  "step",
  "train_loss",
  "train_accuracy",
  "valid_loss",
  "valid_mean_token_accuracy",
] as const;

type Row = Partial<Record<typeof COLUMNS[number], number>>;

export function metricsCsv(events: Iterable<JobEventBody>): string {
  const rows = new Map<number, Row>();
  const add = (step: number, row: Row) => rows.set(step, { ...rows.get(step), step, ...row });
  for (const event of events) {
    if (event.type === "progress") add(event.step, { train_loss: event.loss });
    if (event.type === "evaluated") {
      const { step, eval_loss, metrics } = event;
      add(step, { valid_loss: eval_loss, valid_mean_token_accuracy: metrics.eval_accuracy });
    }
  }
  const lines = [...rows.values()]
    .sort((a, b) => a.step! - b.step!)
    .map((row) => COLUMNS.map((column) => row[column] ?? "").join(","));
  return [COLUMNS.join(","), ...lines].join("\n") + "\n";
}
