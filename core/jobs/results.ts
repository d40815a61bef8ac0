/**
 * What becomes of a job's artefacts: the model's row, its published name, the file of its numbers.
 */
import { newId } from "../../contract/ids.ts";
import type { BaseModel } from "../../contract/recipe.ts";
import { modelId } from "../models/names.ts";
import type { HeldBlob } from "../store/blobs.ts";
import type { Store } from "../store/store.ts";
import type { Ledger } from "./ledger.ts";
import { isFree, publish } from "./place.ts";
import type { Plan } from "./plan.ts";
import { metricsCsv } from "./result_file.ts";

/** The id of the model that a job makes; known before it has ended, for its checkpoints. */
export function modelOf(plan: Plan): string {
  const suffix = plan.kind === "train" ? plan.request.suffix ?? null : null;
  return modelId(plan.model.base.name, suffix, plan.id);
}

/** The base that a training's adapter lies over; null for an export. */
export function baseOf(plan: Plan): BaseModel | null {
  return plan.kind === "train" ? plan.model.base : null;
}

/** Makes the result usable: published name, then model row, file and `succeeded` at once. */
export async function succeed(
  plan: Plan,
  result: Record<string, unknown>,
  store: Store<Plan>,
  ledger: Ledger,
): Promise<void> {
  const model = modelOf(plan);
  const published = place(plan, store, ledger);
  using numbers = await keepNumbers(plan, store, ledger);
  ledger.atomically(plan.id, () =>
    store.transaction(() => {
      store.models.insert({
        id: model,
        kind: plan.kind === "train" ? "adapter" : "merged",
        job_id: plan.id,
        base: plan.model.base,
        path: plan.output,
        details: result,
      });
      if (published) store.models.publish({ ...published, target: plan.output, job_id: plan.id });
      const result_files = numbers === null ? [] : [addFile(numbers, store)];
      ledger.append(plan.id, { type: "succeeded", model, result, result_files });
    }));
}

/** The numbers of a training as a blob; without one the result itself is none the worse. */
async function keepNumbers(
  plan: Plan,
  store: Store<Plan>,
  ledger: Ledger,
): Promise<HeldBlob | null> {
  if (plan.kind !== "train") return null;
  try {
    return await store.blobs.putText(metricsCsv(store.events.measured(plan.id)));
  } catch (error) {
    const text = `Cannot keep the file of results: ${(error as Error).message}`;
    ledger.note(plan.id, "warn", "results_not_kept", text);
    return null;
  }
}

function addFile({ sha256, bytes }: HeldBlob, store: Store<Plan>): string {
  const id = newId("file");
  const filename = "step_metrics.csv";
  store.files.put({ id, filename, purpose: "fine-tune-results", bytes, blob: sha256 });
  return id;
}

/** A job without a result: what checkpoints it left get its name, if nothing else has that. */
export function setAside(plan: Plan, store: Store<Plan>): void {
  if (plan.kind !== "train" || plan.published === null) return;
  const { place, name } = plan.published;
  if (store.events.checkpoints(plan.id).length === 0 || !isFree(place)) return;
  try {
    publish(store.folder, place, plan.output, plan.id);
    store.models.publish({ name, place, target: plan.output, job_id: plan.id });
  } catch {
    // The job's own folder has them in any case; its end is not the moment for another error.
  }
}

/** Publishes; a place that cannot be written is said in an event, as the result itself is safe. */
function place(
  plan: Plan,
  store: Store<Plan>,
  ledger: Ledger,
): { name: string; place: string } | null {
  if (plan.published === null) return null;
  const { name, place } = plan.published;
  try {
    const aside = publish(store.folder, place, plan.output, plan.id);
    if (aside !== null) {
      const text = `An older folder at ${name} was moved to ${aside}`;
      ledger.note(plan.id, "warn", "older_output_moved", text, { from: place, to: aside });
    }
    return plan.published;
  } catch (error) {
    const text = `Cannot publish the result as ${name}: ${(error as Error).message}. ` +
      `It lies in ${plan.output}`;
    ledger.note(plan.id, "warn", "output_not_published", text);
    return null;
  }
}
