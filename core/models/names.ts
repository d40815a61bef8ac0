/**
 * The ids of models that were made here: `ft:<base>:<suffix>:<job>`, and of their checkpoints.
 *
 * A base's name may hold slashes and colons, so an id is read from its end.
 */
import { isId } from "../../contract/ids.ts";

export interface OwnName {
  /** The model's id, without the checkpoint's part. */
  id: string;
  base: string;
  suffix: string;
  job: string;
  /** Step of the checkpoint; null: the finished model. */
  step: number | null;
}

export function modelId(base: string, suffix: string | null, job: string): string {
  return `ft:${base}:${suffix ?? ""}:${job}`;
}

export function checkpointId(model: string, step: number): string {
  return `${model}:ckpt-step-${step}`;
}

export function parseOwnName(name: string): OwnName | null {
  const checkpoint = /:ckpt-step-(\d+)$/.exec(name);
  const id = checkpoint ? name.slice(0, checkpoint.index) : name;
  const match = /^ft:(.+):([^:]*):([^:]+)$/s.exec(id);
  if (!match) return null;
  const [, base, suffix, job] = match as unknown as [string, string, string, string];
  if (!isId("train", job) && !isId("export", job)) return null;
  return { id, base, suffix, job, step: checkpoint ? Number(checkpoint[1]) : null };
}
