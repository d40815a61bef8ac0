/**
 * Uploaded files, as OpenAI's `/v1/files` shows them.
 */
import { z } from "zod";

export const FilePurpose = z.enum([
  "fine-tune",
  "fine-tune-results",
  "assistants",
  "batch",
  "user_data",
  "evals",
  "vision",
]);
export type FilePurpose = z.infer<typeof FilePurpose>;

export const FileObject = z.object({
  id: z.string(),
  object: z.literal("file"),
  bytes: z.int(),
  created_at: z.int(), // Unix seconds
  filename: z.string(),
  purpose: FilePurpose,
  status: z.literal("processed"),
});
export type FileObject = z.infer<typeof FileObject>;

export const FileDeleted = z.object({
  id: z.string(),
  object: z.literal("file"),
  deleted: z.literal(true),
});
export type FileDeleted = z.infer<typeof FileDeleted>;
