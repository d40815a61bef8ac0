/**
 * What a model's name means.
 *
 * In this order: an id of our own, a published name or a path, an alias of configs/models.yaml, the
 * hub. The first meaning wins and says why; others are named beside it. There is no fallback: a name
 * without a meaning is refused.
 */
import { resolve as resolvePath } from "node:path";
import { BullionError } from "../../contract/errors.ts";
import type { ResolvedModel } from "../../contract/model.ts";
import type { BaseModel } from "../../contract/recipe.ts";
import { nearest } from "../config/nearest.ts";
import { inside, realPathOfExisting } from "../store/paths.ts";
import type { Store } from "../store/store.ts";
import type { Aliases } from "./aliases.ts";
import { nameOn, twinOf } from "./aliases.ts";
import { isEmbedded } from "./embedded.ts";
import { lookAt } from "./folder.ts";
import { parseOwnName } from "./names.ts";

/** Where names were written: paths are below the data folder, or relative to `cwd`. */
export type Origin = { kind: "rest" } | { kind: "command_line"; cwd: string };

export interface ResolverParts {
  store: Store;
  /** The base that a job's adapter lies over; null for a job that trains none. */
  baseOfJob(jobId: string): BaseModel | null;
  aliases: Aliases;
  modelscope: boolean;
}

type Target = Pick<ResolvedModel, "base" | "adapter">;

interface Meaning extends Target {
  because: string;
}

/** For a request that names a folder of its user's. An adapter's folder cannot have an alias. */
const FOLDER_ADVICE =
  "give the folder a name in the file of model names (configs/models.yaml, which " +
  "is read when the service starts) and use that name, or use the command line, which takes paths";

export class Resolver {
  readonly #parts: ResolverParts;

  constructor(parts: ResolverParts) {
    this.#parts = parts;
  }

  /**
   * Throws `model_not_found`, `model_not_ready` (an output still to come) or
   * `path_outside_data_folder`. `trustRemoteCode` is what the operator allows and the user asked for;
   * `remote: false` refuses what only a hub could know.
   */
  resolve(
    name: string,
    origin: Origin,
    { trustRemoteCode = false, param = "model", remote = true } = {},
  ): ResolvedModel {
    const local = [
      this.#ownId(name, param),
      ...this.#published(name, origin, param),
      this.#alias(name),
    ].filter((meaning) => meaning !== null);
    const meanings = local.length > 0 ? local : [this.#onHub(name, origin, param, remote)];
    const [first, ...others] = meanings as [Meaning, ...Meaning[]];
    const base = { ...first.base, trust_remote_code: trustRemoteCode };
    return {
      name,
      base,
      adapter: first.adapter,
      why: `${name} resolved to ${this.#show(first)} because ${first.because}`,
      also: others
        .filter((other) => !isSame(first, other))
        .map((other) => `${name} could also mean ${this.#show(other)}, as ${other.because}`),
    };
  }

  /** Whether the file of model names gives this name a meaning; no output may take it over. */
  isAlias(name: string): boolean {
    return this.#alias(name) !== null;
  }

  #ownId(name: string, param: string): Meaning | null {
    const own = parseOwnName(name);
    if (!own) return null;
    if (own.step !== null) {
      const checkpoint = this.#parts.store.events.checkpoints(own.job).find(({ step }) =>
        step === own.step
      );
      const base = this.#parts.baseOfJob(own.job);
      const isGone = !checkpoint || lookAt(checkpoint.path).kind === "missing";
      if (isGone || !base) {
        throw notFound(name, param, "its job has no such checkpoint, or no longer");
      }
      return {
        base,
        adapter: checkpoint.path,
        because: "it is a checkpoint of a job of this service",
      };
    }
    const row = this.#parts.store.models.get(own.id);
    if (!row) throw notFound(name, param, "no finished job of this service made it");
    const because = "it is the id of a model made by this service";
    return row.kind === "adapter"
      ? { base: row.base, adapter: row.path, because }
      : { base: folderBase(name, row.path), adapter: null, because };
  }

  /** A published name and a folder of that name, which mostly are one and the same. */
  #published(name: string, origin: Origin, param: string): Meaning[] {
    const row = this.#parts.store.models.named(name);
    const published = row && lookAt(row.target).kind !== "missing"
      ? [{ path: row.target, because: `job ${row.job_id} published it under this name` }]
      : [];
    const where = origin.kind === "rest" ? this.#placeInside(name) : resolvePath(origin.cwd, name);
    const folder = where !== null && lookAt(where).kind !== "missing"
      ? [{ path: where, because: `${where} is there` }]
      : [];
    const found = origin.kind === "rest" ? [...published, ...folder] : [...folder, ...published];
    return found.flatMap(({ path, because }) =>
      this.#inFolder(name, path, because, origin, param) ?? []
    );
  }

  #inFolder(
    name: string,
    path: string,
    because: string,
    origin: Origin,
    param: string,
  ): Meaning | null {
    const real = realPathOfExisting(path);
    const found = lookAt(real);
    if (found.kind === "model") return { base: folderBase(name, real), adapter: null, because };
    if (found.kind === "checkpoints") {
      throw new BullionError(
        "model_not_ready",
        `Cannot use "${name}" as its training has not ended: it holds checkpoints only, of which ` +
          `${found.newest} is the newest; name one of them, or let the job go on`,
        { param },
      );
    }
    if (found.kind !== "adapter") return null;
    const ours = this.#parts.store.jobOfPath(real);
    const base = ours !== null ? this.#parts.baseOfJob(ours) : null;
    if (base) return { base, adapter: real, because };
    if (found.base === null || found.base === name) {
      throw notFound(name, param, "its adapter_config.json names no base model");
    }
    const below = this.resolve(found.base, origin, { param });
    if (below.adapter !== null) throw notFound(name, param, "its base is an adapter itself");
    return { base: below.base, adapter: real, because };
  }

  #alias(name: string): Meaning | null {
    const { aliases } = this.#parts;
    const exact = aliases.get(name);
    const twin = twinOf(name);
    const meaning = exact ?? (twin === null ? undefined : aliases.get(twin));
    if (!meaning) return null;
    const called = exact ? name : `${twin}, the same model on the other hub,`;
    const base = { name, ...meaning, trust_remote_code: false };
    return { base, adapter: null, because: `the file of model names says so of ${called}` };
  }

  #onHub(name: string, origin: Origin, param: string, remote: boolean): Meaning {
    const { store } = this.#parts;
    const place = origin.kind === "rest"
      ? inside(store.folder, name, param, isOfAdapter(param) ? undefined : FOLDER_ADVICE)
      : resolvePath(origin.cwd, name);
    const [writer] = store.jobs.at(place);
    if (writer) {
      // A hub may well know something else by the name of an output that is still to come, or was here.
      if (store.events.lifecycle(writer.id).some(({ body }) => body.type === "succeeded")) {
        throw notFound(name, param, `the model that job ${writer.id} made under it was deleted`);
      }
      throw new BullionError(
        "model_not_ready",
        `Cannot use "${name}" as job ${writer.id}, whose output it is, has not succeeded: look at the job`,
        { param },
      );
    }
    if (!remote || !/^[\w.-]+\/[\w.-]+$/.test(name) || name.startsWith(".")) {
      const local = origin.kind === "rest" ? "in the data folder" : `at ${place}`;
      throw notFound(
        name,
        param,
        `no model of this service, no folder with a model ${local} and no name in the file of ` +
          "model names is called so" +
          (remote ? ", and it has not the form organisation/model of a hub" : "") +
          this.#instead(name, origin),
      );
    }
    const hub = this.#parts.modelscope ? "modelscope" : "huggingface";
    const path = nameOn(hub, name);
    const base = { name, path, hub, trust_remote_code: false } as const;
    const called = path === name ? "" : `, where it is called ${path}`;
    return {
      base,
      adapter: null,
      because: `nothing here has that name, so it is taken as a name of that hub${called}`,
    };
  }

  /** The known name that may have been meant, and where all of them are listed. */
  #instead(name: string, origin: Origin): string {
    const { aliases, store } = this.#parts;
    const near = nearest(name, [
      ...aliases.keys(),
      ...store.models.names().map(({ name }) => name),
    ]);
    const hint = near === null ? "" : `; the nearest one is "${near}"`;
    return origin.kind === "rest" ? `${hint}; GET /v1/models lists all there are` : hint;
  }

  /** Null for a name that is no path inside the data folder; such a one may still be an alias. */
  #placeInside(name: string): string | null {
    try {
      return inside(this.#parts.store.folder, name);
    } catch (error) {
      if (error instanceof BullionError) return null;
      throw error;
    }
  }

  #show({ base, adapter }: Target): string {
    const hub = { huggingface: "Hugging Face", modelscope: "ModelScope" };
    const local = isEmbedded(base.path) ? `the embedded base (${base.path})` : base.path;
    const shown = base.hub === null ? local : `${base.path} on ${hub[base.hub]}`;
    return adapter === null ? shown : `the adapter ${adapter} over ${shown}`;
  }
}

function folderBase(name: string, path: string): BaseModel {
  return { name, path, hub: null, trust_remote_code: false };
}

function isOfAdapter(param: string): boolean {
  return param === "adapter_name_or_path";
}

function isSame(one: Target, other: Target): boolean {
  return one.adapter === other.adapter && one.base.path === other.base.path &&
    one.base.hub === other.base.hub;
}

function notFound(name: string, param: string, why: string): BullionError {
  return new BullionError("model_not_found", `Cannot find the model "${name}": ${why}`, { param });
}
