/**
 * One attempt at a job: from where it goes on, and from its plan to what a trainer process is told.
 */
import type { TrainerWork } from "../../bridge/doors.ts";
import { BullionError } from "../../contract/errors.ts";
import { toExportSpec, toTrainSpec } from "../config/specs.ts";
import type { Store } from "../store/store.ts";
import { canonicalFiles } from "./data.ts";
import type { ExportPlan, Plan, TrainPlan } from "./plan.ts";
import { probesFrom } from "./probes.ts";

export interface Attempt {
  work: TrainerWork;
  /** Step of the checkpoint of its own from which the job goes on. */
  step: number | null;
}

/** Readies the output folder and says what to do. Throws `checkpoint_not_found`. */
export async function prepareAttempt(plan: Plan, store: Store<Plan>): Promise<Attempt> {
  if (plan.kind === "export") {
    await readyOutput(plan, false);
    return { work: await exportWork(plan), step: null };
  }
  const from = goOnFrom(plan, store);
  await readyOutput(plan, from?.step != null);
  return { work: trainWork(plan, store, from?.path ?? null), step: from?.step ?? null };
}

/** For the event that queues a job again. */
export function whereItGoesOn(plan: Plan, store: Store<Plan>): string {
  if (plan.kind === "export") return "an export begins again";
  const [newest] = store.events.checkpoints(plan.id);
  return newest
    ? `it goes on from the checkpoint of step ${newest.step}`
    : "it has no checkpoint and begins from the start";
}

function trainWork(plan: TrainPlan, store: Store<Plan>, resume_from: string | null): TrainerWork {
  const folder = store.jobFolder(plan.id);
  const { train, eval: evaluation } = plan.sources;
  const spec = toTrainSpec(plan.keys, {
    model: plan.model.base,
    output_dir: plan.output,
    train: canonicalFiles(folder, "train", train.length),
    eval: canonicalFiles(folder, "eval", evaluation.length),
    adapter: plan.adapter,
    resume_from,
  });
  return { type: "train", id: plan.id, spec };
}

async function exportWork(plan: ExportPlan): Promise<TrainerWork> {
  const spec = toExportSpec(plan.keys, {
    model: plan.model.base,
    export_dir: plan.output,
    adapters: plan.adapters.map(({ adapter }) => adapter!),
    probes: await probesFrom(plan.trainedOn),
  });
  return { type: "export", id: plan.id, spec };
}

/** The checkpoint from which the next attempt of a job goes on. */
function goOnFrom(
  plan: TrainPlan,
  store: Store<Plan>,
): { path: string; step: number | null } | null {
  const own = store.events.checkpoints(plan.id).find(({ path }) => isFolder(path));
  if (own) return { path: own.path, step: own.step };
  if (plan.start.checkpoint === null) return null;
  if (isFolder(plan.start.checkpoint)) return { path: plan.start.checkpoint, step: null };
  throw new BullionError(
    "checkpoint_not_found",
    `Cannot go on from ${plan.start.checkpoint} as it is no longer there: start a new job`,
    { param: "resume_from_checkpoint" },
  );
}

/** Readies the output folder for an attempt: one that starts anew finds it empty. */
async function readyOutput(plan: Plan, fromOwnCheckpoint: boolean): Promise<void> {
  if (!fromOwnCheckpoint) await Deno.remove(plan.output, { recursive: true }).catch(() => {});
  // An export's folder appears when it is complete, so only its parent is made here.
  if (plan.kind === "train") await Deno.mkdir(plan.output, { recursive: true });
}

function isFolder(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}
