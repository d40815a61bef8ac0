/**
 * From a plan to what a trainer process is told, at the moment it is started.
 */
import type { TrainerWork } from "../../bridge/doors.ts";
import { toExportSpec, toTrainSpec } from "../config/specs.ts";
import type { Plan } from "./plan.ts";

/** What is known only now: the canonical files, where to go on, prompts to verify a merge on. */
export interface Circumstances {
  train: string[];
  eval: string[];
  resume_from: string | null;
  probes: string[];
}

export function workOf(plan: Plan, now: Circumstances): TrainerWork {
  const { id, keys, model, output } = plan;
  if (plan.kind === "train") {
    const spec = toTrainSpec(keys, {
      model: model.base,
      output_dir: output,
      train: now.train,
      eval: now.eval,
      adapter: plan.adapter,
      resume_from: now.resume_from,
    });
    return { type: "train", id, spec };
  }
  const spec = toExportSpec(keys, {
    model: model.base,
    export_dir: output,
    adapters: plan.adapters.map(({ adapter }) => adapter!),
    probes: now.probes,
  });
  return { type: "export", id, spec };
}
