/**
 * Where a job's result is published: `output_dir` and `export_dir`.
 *
 * Artefacts lie in the job's own folder. The published name is a symbolic link to it, put in place by
 * rename when the job succeeds, or when a stopped job left checkpoints and the name was free. So a
 * name never points to less than it did before, and what a user had there is moved aside, not deleted.
 */
import { dirname, join, relative, resolve } from "node:path";
import { BullionError } from "../../contract/errors.ts";
import type { Origin } from "../models/resolve.ts";
import { checkpointsIn, isComplete, lookAt } from "../models/folder.ts";
import { insideForWriting, isBelow } from "../store/paths.ts";
import type { Store } from "../store/store.ts";
import type { Resumption } from "../config/specs.ts";

/** The absolute path of an output's name. */
export function placeOf(folder: string, name: string, origin: Origin, param: string): string {
  if (origin.kind === "rest") return insideForWriting(folder, name, param);
  const place = resolve(origin.cwd, name);
  if (entryAt(place) === "file") {
    throw new BullionError(
      "output_is_a_file",
      `Cannot write to ${place} as it is a file: choose another ${param}`,
      { param },
    );
  }
  return place;
}

/**
 * Throws `output_name_in_use` while a job that has not ended holds the place, and
 * `output_name_nested` for a place within or around another one: they would overwrite each other.
 */
export function assertFree(store: Store, place: string, name: string, param: string): void {
  const holder = store.jobs.unfinished().find((job) =>
    job.place !== null && meet(job.place, place)
  );
  if (holder) {
    throw new BullionError(
      "output_name_in_use",
      `Cannot start a job with ${param} "${name}" as job ${holder.id} writes there and has not ` +
        `ended: wait for it, cancel it, or choose another ${param}`,
      { param },
    );
  }
  const other = store.models.names().find((row) => row.place !== place && meet(row.place, place));
  if (other) {
    throw new BullionError(
      "output_name_nested",
      `Cannot write to "${name}" as "${other.name}" is published there: ` +
        `choose a ${param} that is neither within nor around it`,
      { param },
    );
  }
}

function meet(one: string, other: string): boolean {
  return isBelow(one, other) || isBelow(other, one);
}

/** From where a new job goes on. `why` is null when there was nothing to decide. */
export interface StartingPoint {
  checkpoint: string | null;
  why: string | null;
}

const INCOMPLETE = "is no complete checkpoint (it holds no trainer_state.json)";

/** LLaMA-Factory's rule of resuming. `named` finds the folder that `resume_from_checkpoint` names. */
export function startingPoint(
  wish: Resumption,
  place: string | null,
  store: Store,
  named: (path: string) => string,
): StartingPoint {
  if (wish.kind === "fresh") return { checkpoint: null, why: null };
  if (wish.kind === "checkpoint") {
    const checkpoint = named(wish.path);
    if (entryAt(checkpoint) !== "folder") throw noCheckpoint(`${wish.path} is no folder`);
    if (!isComplete(checkpoint)) throw noCheckpoint(`${wish.path} ${INCOMPLETE}`);
    return { checkpoint, why: `resume_from_checkpoint names ${wish.path}` };
  }
  const output = place === null ? null : existingOutput(place, store);
  if (output?.checkpoint) {
    if (!isComplete(output.checkpoint)) {
      throw new BullionError(
        "checkpoint_incomplete",
        `Cannot go on from ${output.checkpoint}, which ${output.whose} left, as it ${INCOMPLETE}: ` +
          "remove that folder, set overwrite_output_dir: true for a new start, or choose another " +
          "output_dir",
        { param: "overwrite_output_dir" },
      );
    }
    return {
      checkpoint: output.checkpoint,
      why: `${output.whose} left this checkpoint and overwrite_output_dir is not set`,
    };
  }
  if (wish.kind === "last") throw noCheckpoint("the output folder holds none");
  if (output?.weights) {
    throw new BullionError(
      "output_exists",
      `Cannot train into ${place} as ${output.whose} left weights there and no checkpoint to go on ` +
        "from: set overwrite_output_dir: true for a new start, or choose another output_dir",
      { param: "output_dir" },
    );
  }
  return { checkpoint: null, why: null };
}

interface Output {
  whose: string;
  checkpoint: string | null;
  weights: boolean;
}

/** What the newest job that left anything at this place left; without one, what lies there. */
function existingOutput(place: string, store: Store): Output | null {
  for (const job of store.jobs.at(place)) {
    if (job.kind !== "train") continue;
    const checkpoint = store.events.checkpoints(job.id).find(({ path }) =>
      entryAt(path) === "folder"
    );
    const weights = hasWeights(outputOf(job));
    if (checkpoint || weights) {
      return { whose: `job ${job.id}`, checkpoint: checkpoint?.path ?? null, weights };
    }
  }
  if (entryAt(place) !== "folder") return null;
  const checkpoint = checkpointsIn(place)[0]?.path ?? null;
  return { whose: "an earlier training", checkpoint, weights: hasWeights(place) };
}

const outputOf = (job: { id: string; plan: unknown }): string =>
  (job.plan as { output: string }).output;

function hasWeights(folder: string): boolean {
  const { kind } = lookAt(folder);
  return kind === "model" || kind === "adapter";
}

/**
 * Puts the link in place. Returns where an older real folder was moved to, null if there was none.
 * `folder` is the data folder. Throws what the file system throws.
 */
export function publish(
  folder: string,
  place: string,
  target: string,
  jobId: string,
): string | null {
  Deno.mkdirSync(dirname(place), { recursive: true });
  const before = entryAt(place);
  const aside = before === "folder" || before === "file" ? moveAside(place, before, jobId) : null;
  const parent = Deno.realPathSync(dirname(place));
  const link = join(parent, `.${jobId}.link`);
  const real = Deno.realPathSync(target);
  // Within the data folder relative, so that it can be mounted elsewhere as a whole; outside absolute,
  // so that a user can move the link.
  Deno.symlinkSync(isBelow(folder, parent) ? relative(parent, real) : real, link);
  Deno.renameSync(link, place);
  return aside;
}

/** Removes the link at `place` if it leads to `target`; anything else there is left alone. */
export function unpublish(place: string, target: string): void {
  if (entryAt(place) !== "link") return;
  if (resolve(dirname(place), Deno.readLinkSync(place)) === target) Deno.removeSync(place);
}

export function isFree(place: string): boolean {
  return entryAt(place) === "nothing";
}

function moveAside(place: string, what: "folder" | "file", jobId: string): string | null {
  if (what === "folder" && Array.from(Deno.readDirSync(place)).length === 0) {
    Deno.removeSync(place);
    return null;
  }
  const aside = `${place}.before-${jobId}`;
  Deno.renameSync(place, aside);
  return aside;
}

function entryAt(path: string): "nothing" | "link" | "folder" | "file" {
  try {
    const entry = Deno.lstatSync(path);
    return entry.isSymlink ? "link" : entry.isDirectory ? "folder" : "file";
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "nothing";
    throw error;
  }
}

function noCheckpoint(why: string): BullionError {
  return new BullionError(
    "checkpoint_not_found",
    `Cannot go on from a checkpoint as ${why}: correct resume_from_checkpoint, or leave it out`,
    { param: "resume_from_checkpoint" },
  );
}
