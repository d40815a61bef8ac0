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

/** What may be uploaded: results are written by jobs alone. */
export const UploadPurpose = FilePurpose.exclude(["fine-tune-results"]);

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

/** A registered data set. Its name is what a recipe's `dataset` says. */
export const DatasetObject = z.object({
  id: z.string(),
  object: z.literal("dataset"),
  name: z.string(),
  created_at: z.int(),
  bytes: z.int(),
  records: z.int(), // that can be trained on
  report: z.record(z.string(), z.unknown()), // contract/dataset.ts: DataReport
});
export type DatasetObject = z.infer<typeof DatasetObject>;

/** An uploaded report, parsed. */
export const DocumentObject = z.object({
  id: z.string(),
  object: z.literal("document"),
  filename: z.string(),
  created_at: z.int(),
  bytes: z.int(),
  pages: z.int(),
  chunks: z.int(),
});
export type DocumentObject = z.infer<typeof DocumentObject>;

/** Question-answer pairs written from a document, kept as a data set and as a training file. */
export const PairsObject = z.object({
  object: z.literal("document.pairs"),
  document_id: z.string(),
  dataset: z.string(), // name of the data set (alpaca)
  file_id: z.string(), // OpenAI JSONL, purpose fine-tune
  pairs: z.int(),
  facts: z.int(),
  dropped: z.array(z.record(z.string(), z.unknown())), // contract/document.ts: DroppedFact
});
export type PairsObject = z.infer<typeof PairsObject>;
