/**
 * Models as clients list, look at and delete them. What a name means is core/models/resolve's matter.
 */
import { BullionError } from "../../contract/errors.ts";
import type { ModelDeleted, ModelObject, ResolvedModel } from "../../contract/model.ts";
import type { Page } from "../../contract/page.ts";
import type { Plan } from "../jobs/plan.ts";
import { unpublish } from "../jobs/place.ts";
import type { Models } from "../rooms.ts";
import type { ModelRow } from "../store/models.ts";
import { page } from "../store/page.ts";
import type { Store } from "../store/store.ts";
import type { Aliases, Meaning } from "./aliases.ts";
import { parseOwnName } from "./names.ts";
import type { Origin, Resolver } from "./resolve.ts";

export interface ModelParts {
  store: Store<Plan>;
  aliases: Aliases;
  resolver: Resolver;
  startedAt: number; // Unix seconds: when aliases came to be, as far as clients care
  /** Calls `forget` when the engine does not hold the folder any more. */
  release<T>(path: string, forget: () => T): Promise<T>;
}

export class ModelRoom implements Models {
  readonly #parts: ModelParts;

  constructor(parts: ModelParts) {
    this.#parts = parts;
  }

  /** Own models, newest first, then the aliases. */
  list(): Page<ModelObject> {
    const own = this.#parts.store.models.all().map((row) => this.#ofRow(row));
    const aliases = Array.from(this.#parts.aliases, ([name, alias]) => this.#ofAlias(name, alias));
    return page([...own, ...aliases], false);
  }

  /** The name of the one model there is, whatever it is called; null where there are more or none. */
  only(): string | null {
    const { data } = this.list();
    return new Set(data.map(({ path }) => path)).size === 1 ? data[0]!.id : null;
  }

  /** By id, published name, alias, or any name that means something here; the hub is not asked. */
  get(id: string): ModelObject {
    const row = this.#row(id);
    if (row) return { ...this.#ofRow(row), id };
    const alias = this.#parts.aliases.get(id);
    if (alias) return this.#ofAlias(id, alias);
    return this.#ofResolved(this.#parts.resolver.resolve(id, { kind: "rest" }, { remote: false }));
  }

  /** Removes weights and checkpoints, the names and the row; the job and its events stay. */
  async delete(id: string): Promise<ModelDeleted> {
    const { store } = this.#parts;
    const row = this.#row(id);
    if (!row) {
      throw notDeletable(this.get(id));
    }
    const user = this.#userOf(row);
    if (user !== null) {
      throw new BullionError(
        "model_in_use",
        `Cannot delete "${id}" as job ${user} uses it and has not ended: wait for it or cancel it`,
        { param: "model" },
      );
    }
    const names = await this.#parts.release(row.path, () =>
      store.transaction(() => {
        store.events.forgetCheckpoints(row.job_id);
        return store.models.delete(row.id);
      }));
    for (const { place, target } of names) unpublish(place, target);
    await Deno.remove(row.path, { recursive: true }).catch(() => {});
    return { id, object: "model", deleted: true };
  }

  // deno-lint-ignore require-await -- a refusal is a rejection
  async resolve(name: string, origin: Origin): Promise<ResolvedModel> {
    return this.#parts.resolver.resolve(name, origin);
  }

  #row(id: string): ModelRow | undefined {
    const { models } = this.#parts.store;
    const named = models.named(id);
    return models.get(id) ?? (named && models.ofJob(named.job_id));
  }

  /** The unfinished job that reads the model's folder. */
  #userOf(row: ModelRow): string | null {
    const reads = (plan: Plan): boolean => {
      const models = plan.kind === "export" ? [plan.model, ...plan.adapters] : [plan.model];
      return models.some(({ base, adapter }) => base.path === row.path || adapter === row.path) ||
        plan.kind === "train" && (plan.start.checkpoint?.startsWith(row.path) ?? false);
    };
    return this.#parts.store.jobs.unfinished().find(({ plan }) => reads(plan))?.id ?? null;
  }

  #ofRow(row: ModelRow): ModelObject {
    return {
      id: row.id,
      object: "model",
      created: Math.floor(row.created_at),
      owned_by: "bullion",
      kind: row.kind,
      parent: row.base.name,
      job_id: row.job_id,
      path: row.path,
      names: this.#parts.store.models.namesOf(row.job_id).map(({ name }) => name),
      details: row.details,
    };
  }

  #ofAlias(name: string, { path, hub }: Meaning): ModelObject {
    return this.#foreign(name, "alias", "base", null, hub === null ? path : `${hub}:${path}`);
  }

  #ofResolved({ name, base, adapter }: ResolvedModel): ModelObject {
    if (adapter === null) return this.#foreign(name, "folder", "base", null, base.path);
    const kind = /\/checkpoint-\d+$/.test(adapter) ? "checkpoint" : "adapter";
    return this.#foreign(name, "folder", kind, base.name, adapter);
  }

  #foreign(
    id: string,
    owned_by: string,
    kind: ModelObject["kind"],
    parent: string | null,
    path: string,
  ): ModelObject {
    return {
      id,
      object: "model",
      created: Math.floor(this.#parts.startedAt),
      owned_by,
      kind,
      parent,
      job_id: null,
      path,
      names: [],
      details: {},
    };
  }
}

function notDeletable({ id, kind, owned_by }: ModelObject): BullionError {
  const own = parseOwnName(id);
  const why = kind === "checkpoint"
    ? "it is a checkpoint, and single ones cannot be deleted: delete the model" +
      (own === null ? "" : ` (${own.id}, once its job has ended)`) +
      ", with which its checkpoints go"
    : `it was not made here (it is from ${owned_by}): only models of finished jobs can be deleted`;
  return new BullionError("model_not_deletable", `Cannot delete "${id}" as ${why}`, {
    param: "model",
  });
}
