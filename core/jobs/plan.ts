/**
 * From a request to a plan: everything about a job that is decided when it is created.
 *
 * A plan is what the job's row stores. It names models by what they were found to be, outputs by their
 * absolute place, data by its files; reading the data comes later (data.ts), the trainer's spec when a
 * process is started (attempt.ts). Throws whatever is wrong with the request itself.
 */
import { join, resolve } from "node:path";
import { BullionError } from "../../contract/errors.ts";
import { newId } from "../../contract/ids.ts";
import type { CreateFineTuningJob } from "../../contract/job.ts";
import type { ResolvedModel } from "../../contract/model.ts";
import { autoRecipe, hyperparametersOf, keysOfRequest } from "../config/hyperparameters.ts";
import type { Hyperparameters } from "../config/hyperparameters.ts";
import type { Note, Recipe } from "../config/llamafactory.ts";
import { readRecipe, recipeFromKeys, scopeOfTraining } from "../config/llamafactory.ts";
import { resumption } from "../config/specs.ts";
import { isEmbedded } from "../models/embedded.ts";
import { assertLayers } from "../models/layers.ts";
import type { Origin, Resolver } from "../models/resolve.ts";
import { inside } from "../store/paths.ts";
import type { Store } from "../store/store.ts";
import { canonicalFiles, locateDatasets, locateFiles, type Sources } from "./data.ts";
import { assertFree, placeOf, startingPoint } from "./place.ts";

export type Keys = Recipe["keys"];

interface Common {
  id: string;
  origin: Origin;
  text: string | null; // the YAML as it came; null for a request in OpenAI's form
  keys: Keys;
  notes: Note[];
  model: ResolvedModel;
  /** The published name as written and its absolute path. */
  published: { name: string; place: string } | null;
  /** The folder the trainer writes to, below the job's own. */
  output: string;
}

export interface TrainPlan extends Common {
  kind: "train";
  adapter: string | null; // folder of the adapter to go on with
  sources: Sources;
  /** Checkpoint of an earlier job or training to go on from, and why. */
  start: { checkpoint: string | null; why: string | null };
  request: Pick<CreateFineTuningJob, "suffix" | "metadata"> & { hyperparameters: Hyperparameters };
}

export interface ExportPlan extends Common {
  kind: "export";
  adapters: ResolvedModel[];
  /** Canonical files that the adapters were trained on, as far as they are known: for the probes. */
  trainedOn: string[];
}

export type Plan = TrainPlan | ExportPlan;

export interface Planning {
  store: Store<Plan>;
  resolver: Resolver;
  trust_remote_code: boolean; // whether the operator allows it
  readRecipeFile(name: string): string; // a file of configs/recipes
}

export function planYamlTraining(text: string, origin: Origin, planning: Planning): TrainPlan {
  if (scopeOfTraining(text) === "predict") {
    throw new BullionError(
      "prediction_unavailable",
      "Cannot run this YAML as a training as it asks for a prediction (do_predict): " +
        "set do_train: true, or ask the model at /v1/chat/completions",
      { param: "do_predict" },
    );
  }
  const { keys, notes, written } = readRecipe(text, "train");
  const names = {
    train: keys.dataset ?? [],
    eval: keys.eval_dataset ?? [],
    dataset_dir: keys.dataset_dir,
  };
  const sources = locateDatasets(names, origin, planning.store);
  const hyperparameters: Hyperparameters = {
    n_epochs: written.num_train_epochs ?? keys.num_train_epochs,
    batch_size: keys.per_device_train_batch_size * keys.gradient_accumulation_steps,
    learning_rate_multiplier: 1,
  };
  const request = { suffix: null, metadata: null, hyperparameters };
  return planTraining({ keys, notes, text }, sources, request, origin, planning);
}

export function planFineTuning(body: CreateFineTuningJob, planning: Planning): TrainPlan {
  const origin: Origin = { kind: "rest" };
  const hyperparameters = hyperparametersOf(body);
  const { base } = planning.resolver.resolve(body.model, origin);
  const recipe = planning.readRecipeFile(autoRecipe({ embedded: isEmbedded(base.path) }));
  const { keys, notes } = recipeFromKeys(keysOfRequest(body, recipe), "train");
  const sources = locateFiles(body.training_file, body.validation_file ?? null, planning.store);
  const request = { suffix: body.suffix ?? null, metadata: body.metadata ?? null, hyperparameters };
  return planTraining({ keys, notes, text: null }, sources, request, origin, planning);
}

function planTraining(
  { keys, notes, text }: Pick<Common, "keys" | "notes" | "text">,
  sources: Sources,
  request: TrainPlan["request"],
  origin: Origin,
  planning: Planning,
): TrainPlan {
  const id = newId("train");
  const model = resolveModel(keys, origin, planning);
  const [named, ...more] = adaptersOf(keys, origin, planning);
  if (more.length > 0) {
    throw new BullionError(
      "too_many_adapters",
      `Cannot train on ${more.length + 1} adapters at once: merge the first ones by an export, ` +
        "then train on the merged model",
      { param: "adapter_name_or_path" },
    );
  }
  const adapter = named?.adapter ?? model.adapter;
  // An adapter that is gone on with keeps its own layers.
  if (adapter === null || keys.create_new_adapter) assertLayers(keys.lora_target, model.base);
  const published = publishedAs(keys.output_dir, "output_dir", origin, planning);
  const start = startingPoint(
    resumption(keys),
    published?.place ?? null,
    planning.store,
    (path) => placeToRead(path, origin, planning, "resume_from_checkpoint"),
  );
  return {
    kind: "train",
    id,
    origin,
    text,
    keys,
    notes,
    model,
    adapter,
    sources,
    published,
    start,
    request,
    output: join(planning.store.jobFolder(id), "output"),
  };
}

export function planExport(text: string, origin: Origin, planning: Planning): ExportPlan {
  const { keys, notes } = readRecipe(text, "export");
  const id = newId("export");
  const model = resolveModel(keys, origin, planning);
  const named = adaptersOf(keys, origin, planning);
  const published = publishedAs(keys.export_dir, "export_dir", origin, planning);
  const adapters = model.adapter === null ? named : [model, ...named];
  return {
    kind: "export",
    id,
    origin,
    text,
    keys,
    notes,
    model,
    adapters,
    trainedOn: adapters.flatMap(({ adapter }) => dataOf(adapter!, planning.store)),
    published,
    output: join(planning.store.jobFolder(id), "merged"),
  };
}

function resolveModel(keys: Keys, origin: Origin, planning: Planning): ResolvedModel {
  return planning.resolver.resolve(keys.model_name_or_path!, origin, {
    trustRemoteCode: planning.trust_remote_code && keys.trust_remote_code,
    param: "model_name_or_path",
  });
}

function adaptersOf(keys: Keys, origin: Origin, { resolver }: Planning): ResolvedModel[] {
  const param = "adapter_name_or_path";
  return (keys.adapter_name_or_path ?? []).map((name) => {
    const found = resolver.resolve(name, origin, { param, remote: false });
    if (found.adapter !== null) return found;
    throw new BullionError(
      "not_an_adapter",
      `Cannot use "${name}" as an adapter as it is a whole model: name the output_dir of a LoRA training`,
      { param },
    );
  });
}

function publishedAs(
  name: string | null,
  param: string,
  origin: Origin,
  { store, resolver }: Planning,
): Common["published"] {
  if (name === null) return null;
  if (resolver.isAlias(name)) {
    throw new BullionError(
      "output_name_in_use",
      `Cannot write to "${name}" as the file of model names has a model of that name: ` +
        `choose another ${param}`,
      { param },
    );
  }
  const place = placeOf(store.folder, name, origin, param);
  assertFree(store, place, name, param);
  return { name: name.replace(/\/+$/, ""), place };
}

/** Throws `output_name_in_use` and `output_name_nested`, as when the plan was made. */
export function assertPublishedFree({ published, kind }: Plan, store: Store<Plan>): void {
  if (published === null) return;
  const param = kind === "train" ? "output_dir" : "export_dir";
  assertFree(store, published.place, published.name, param);
}

function placeToRead(name: string, origin: Origin, { store }: Planning, param: string): string {
  return origin.kind === "rest" ? inside(store.folder, name, param) : resolve(origin.cwd, name);
}

/** The training data of an adapter that a job of this data folder made. */
function dataOf(adapter: string, store: Store<Plan>): string[] {
  const job = store.jobOfPath(adapter);
  const plan = job === null ? undefined : store.jobs.find(job)?.plan;
  if (plan?.kind !== "train") return [];
  return canonicalFiles(store.jobFolder(plan.id), "train", plan.sources.train.length);
}
