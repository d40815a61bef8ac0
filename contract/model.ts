/**
 * Models a client can name, and what a name was found to mean.
 */
import { z } from "zod";
import { BaseModel } from "./recipe.ts";

/** What a name means: a base, or a base with one adapter over it, and the reason for that reading. */
export const ResolvedModel = z.strictObject({
  name: z.string(), // as the user wrote it
  base: BaseModel,
  adapter: z.string().nullable(), // adapter folder, absolute
  why: z.string(), // "X resolved to Y because Z", for the first event of a job
  also: z.array(z.string()), // other meanings the name has and that lost, each a sentence
});
export type ResolvedModel = z.infer<typeof ResolvedModel>;

/** OpenAI's model object with what Bullion knows besides. */
export const ModelObject = z.object({
  id: z.string(),
  object: z.literal("model"),
  created: z.int(), // Unix seconds
  owned_by: z.string(), // "bullion": made here and deletable; "alias": from configs/models.yaml
  kind: z.enum(["base", "adapter", "merged", "checkpoint"]),
  parent: z.string().nullable(), // name of the base
  job_id: z.string().nullable(),
  path: z.string().nullable(),
  names: z.array(z.string()), // published names that point here
  details: z.record(z.string(), z.unknown()), // results of the job: loss, verification of a merge
});
export type ModelObject = z.infer<typeof ModelObject>;

export const ModelDeleted = z.object({
  id: z.string(),
  object: z.literal("model"),
  deleted: z.literal(true),
});
export type ModelDeleted = z.infer<typeof ModelDeleted>;
