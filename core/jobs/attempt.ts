/**
 * One attempt at a job: from where it goes on, and from its plan to what a trainer process is told.
 */
import { join } from "node:path";
import type { TrainerWork } from "../../bridge/doors.ts";
import { BullionError } from "../../contract/errors.ts";
import { toExportSpec, toTrainSpec } from "../config/specs.ts";
import type { CheckpointRow } from "../store/events.ts";
import type { Store } from "../store/store.ts";
import { canonicalFiles } from "./data.ts";
import type { ExportPlan, Plan, TrainPlan } from "./plan.ts";
import { probesFrom } from "./probes.ts";

/** The file without which a checkpoint is of the model alone (py/bullion/train/checkpoint.py). */
const OPTIMIZER = "optimizer.pt";

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
  await readyOutput(plan, store.events.checkpoints(plan.id).some(({ path }) => isFolder(path)));
  return { work: trainWork(plan, store, from?.path ?? null), step: from?.step ?? null };
}

/** For the event that queues a job again. */
export function whereItGoesOn(plan: Plan, store: Store<Plan>): string {
  if (plan.kind === "export") return "an export begins again";
  const step = stepReached(plan, store);
  return step > 0
    ? `it goes on from the checkpoint of step ${step}`
    : "it has no checkpoint and begins from the start";
}

/** The step that an attempt which began now would go on from; 0 without a checkpoint of its own. */
export function stepReached(plan: Plan, store: Store<Plan>): number {
  return ownCheckpoint(plan, store)?.step ?? 0;
}

/** The newest checkpoint of the job's own that it can go on from: not one of the model alone. */
function ownCheckpoint(plan: Plan, store: Store<Plan>): CheckpointRow | undefined {
  return store.events.checkpoints(plan.id).find(({ path }) => isFile(join(path, OPTIMIZER)));
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
  const own = ownCheckpoint(plan, store);
  if (own) return { path: own.path, step: own.step };
  if (plan.start.checkpoint === null) return null;
  if (isFolder(plan.start.checkpoint)) return { path: plan.start.checkpoint, step: null };
  throw new BullionError(
    "checkpoint_not_found",
    `Cannot go on from ${plan.start.checkpoint} as it is no longer there: start a new job`,
    { param: "resume_from_checkpoint" },
  );
}

/** Readies the output folder for an attempt: it finds it empty if the job has no checkpoints there. */
async function readyOutput(plan: Plan, hasCheckpoints: boolean): Promise<void> {
  if (!hasCheckpoints) await Deno.remove(plan.output, { recursive: true }).catch(() => {});
  // An export's folder appears when it is complete, so only its parent is made here.
  if (plan.kind === "train") await Deno.mkdir(plan.output, { recursive: true });
}

const isFolder = (path: string): boolean => entryAt(path)?.isDirectory ?? false;
const isFile = (path: string): boolean => entryAt(path)?.isFile ?? false;

function entryAt(path: string): Deno.FileInfo | null {
  try {
    return Deno.statSync(path);
  } catch {
    return null;
  }
}
