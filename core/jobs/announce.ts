/**
 * What a job says first: what its model's name means, which keys change nothing, what its data holds.
 */
import type { DataReport } from "../../contract/dataset.ts";
import type { Ledger } from "./ledger.ts";
import type { Plan } from "./plan.ts";

const DROPPED_SHOWN = 20;

export function announcePlan(plan: Plan, ledger: Ledger): void {
  const note = (level: "info" | "warn", code: string, text: string, data = {}) =>
    ledger.note(plan.id, level, code, text, data);
  const models = plan.kind === "export" ? [plan.model, ...plan.adapters] : [plan.model];
  for (const model of new Set(models)) {
    note("info", "model_resolved", model.why, { name: model.name, base: model.base });
    for (const other of model.also) {
      note("warn", "model_name_ambiguous", other, { name: model.name });
    }
  }
  for (const { key, reason } of plan.notes) {
    note("info", "key_has_no_effect", `${key}: ${reason}`, { key });
  }
  if (plan.kind === "train") {
    for (const text of plan.sources.notes) note("warn", "dataset_name_ambiguous", text);
    const { checkpoint, why } = plan.start;
    if (checkpoint !== null) note("info", "goes_on_from", `Goes on from ${checkpoint}: ${why}`);
  }
  if (plan.kind === "export") {
    for (const { name, base } of plan.adapters) {
      if (base.path === plan.model.base.path && base.hub === plan.model.base.hub) continue;
      const text = `${name} was trained on ${base.path} and is merged into ${plan.model.base.path}`;
      note("warn", "adapter_of_another_base", text, { adapter: name });
    }
  }
}

export function announceReport(
  jobId: string,
  name: string,
  report: DataReport,
  ledger: Ledger,
): void {
  const { dropped, records, format } = report;
  const text = `Data set ${name}: ${records} records (${format})` +
    (dropped.length > 0 ? `, ${dropped.length} left out` : "");
  ledger.note(jobId, "info", "data_read", text, { name, records, sha256: report.sha256 });
  for (const { index, line, reason } of dropped.slice(0, DROPPED_SHOWN)) {
    const text = `Data set ${name}: record ${index} in line ${line} is left out: ${reason}`;
    ledger.note(jobId, "warn", "record_dropped", text, { index, line });
  }
  for (const note of report.notes) {
    ledger.note(jobId, "warn", "data_note", `Data set ${name}: ${note}`);
  }
}
