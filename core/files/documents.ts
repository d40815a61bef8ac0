/** Uploaded reports: parsed once, kept with their text and chunks; pairs are written from these. */
import { fileURLToPath } from "node:url";
import { type Chunk, DocumentText, type Pair } from "../../contract/document.ts";
import type {
  DatasetObject,
  DocumentObject,
  FileObject,
  PairsObject,
} from "../../contract/file.ts";
import { BullionError } from "../../contract/errors.ts";
import { newId } from "../../contract/ids.ts";
import type { Page, PageQuery } from "../../contract/page.ts";
import { chunkDocument } from "../documents/chunks.ts";
import { extractiveWriter } from "../documents/extractive.ts";
import { extractFacts } from "../documents/facts.ts";
import { toAlpaca, toOpenAI } from "../documents/pairs.ts";
import { loadPhrasings } from "../documents/phrasings.ts";
import { readDocument } from "../documents/read.ts";
import type { Datasets, Documents, Files } from "../rooms.ts";
import type { Store } from "../store/store.ts";
import type { DocumentRow } from "../store/uploads.ts";

const PHRASINGS = fileURLToPath(new URL("../../configs/phrasings.zh.yaml", import.meta.url));

export interface DocumentParts {
  store: Store;
  uploadBytes: number;
  maxPages: number;
  files: Files;
  datasets: Datasets;
}

export class DocumentRoom implements Documents {
  readonly #parts: DocumentParts;
  readonly #store: Store;

  constructor(parts: DocumentParts) {
    this.#parts = parts;
    this.#store = parts.store;
  }

  async create(content: ReadableStream<Uint8Array>, filename: string): Promise<DocumentObject> {
    const { blobs, documents } = this.#store;
    const made: string[] = [];
    try {
      using upload = await blobs.put(content, this.#parts.uploadBytes);
      made.push(upload.sha256);
      const text = await readDocument(await Deno.readFile(blobs.path(upload.sha256)), filename);
      this.#assertLength(text.pages.length);
      const chunks = chunkDocument(text);
      using textBlob = await blobs.putText(JSON.stringify(text));
      made.push(textBlob.sha256);
      using chunksBlob = await blobs.putText(JSON.stringify(chunks));
      made.push(chunksBlob.sha256);
      const row = documents.put({
        id: newId("document"),
        filename,
        bytes: upload.bytes,
        blob: upload.sha256,
        text_blob: textBlob.sha256,
        chunks_blob: chunksBlob.sha256,
        pages: text.pages.length,
        chunks: chunks.length,
      });
      made.length = 0;
      return present(row);
    } finally {
      await this.#store.forgetBlobs(...made);
    }
  }

  #assertLength(pages: number): void {
    const { maxPages } = this.#parts;
    if (pages <= maxPages) return;
    throw new BullionError(
      "pdf_too_long",
      `Cannot store a report of ${pages} pages as ${maxPages} is the limit: send a part of it, or ` +
        "raise limits.max_pdf_pages",
      { param: "file" },
    );
  }

  list(query: PageQuery): Page<DocumentObject> {
    return this.#store.documents.page(query, present);
  }

  get(id: string): DocumentObject {
    return present(this.#store.documents.get(id));
  }

  async chunks(id: string): Promise<Chunk[]> {
    const { chunks_blob } = this.#store.documents.get(id);
    return JSON.parse(await this.#store.blobs.text(chunks_blob));
  }

  async writePairs(id: string, { dataset }: { dataset?: string } = {}): Promise<PairsObject> {
    const row = this.#store.documents.get(id);
    const text = DocumentText.parse(JSON.parse(await this.#store.blobs.text(row.text_blob)));
    const writer = extractiveWriter(await loadPhrasings(PHRASINGS));
    const pairs: Pair[] = await Array.fromAsync(writer.write(text));
    const { facts, dropped } = extractFacts(text);
    const name = dataset ?? id;
    const set = await this.#register(name, toAlpaca(pairs));
    const file = await this.#upload(`${name}.jsonl`, toOpenAI(pairs));
    return {
      object: "document.pairs",
      document_id: id,
      dataset: set.name,
      file_id: file.id,
      pairs: set.records,
      facts: facts.length,
      dropped,
    };
  }

  async delete(id: string): Promise<{ id: string; object: "document"; deleted: true }> {
    const { blob, text_blob, chunks_blob } = this.#store.documents.get(id);
    this.#store.documents.delete(id);
    await this.#store.forgetBlobs(blob, text_blob, chunks_blob);
    return { id, object: "document", deleted: true };
  }

  #register(name: string, alpaca: string): Promise<DatasetObject> {
    return this.#parts.datasets.put(name, streamOf(alpaca));
  }

  #upload(filename: string, jsonl: string): Promise<FileObject> {
    return this.#parts.files.create(streamOf(jsonl), filename, "fine-tune");
  }
}

function streamOf(text: string): ReadableStream<Uint8Array> {
  return ReadableStream.from([new TextEncoder().encode(text)]);
}

function present(row: DocumentRow): DocumentObject {
  const { id, filename, bytes, pages, chunks, created_at } = row;
  return {
    id,
    object: "document",
    filename,
    created_at: Math.floor(created_at),
    bytes,
    pages,
    chunks,
  };
}
