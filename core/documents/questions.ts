/**
 * What a writer of questions is: it reads a document and yields grounded question-answer pairs.
 *
 * The extractive writer (extractive.ts) needs no model; one that asks a model takes the same place.
 */
import type { DocumentText, Pair } from "../../contract/document.ts";

export interface WriteOptions {
  signal?: AbortSignal;
}

export interface QuestionWriter {
  readonly name: string;
  /** Pairs in a repeatable order. Throws BullionError when the document gives nothing to ask about. */
  write(document: DocumentText, options?: WriteOptions): AsyncIterable<Pair>;
}
