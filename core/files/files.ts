/** Uploaded files: bytes into a blob, a row that points to it. */
import { BullionError } from "../../contract/errors.ts";
import type { FileDeleted, FileObject, FilePurpose } from "../../contract/file.ts";
import { newId } from "../../contract/ids.ts";
import type { Page, PageQuery } from "../../contract/page.ts";
import type { Files } from "../rooms.ts";
import type { Store } from "../store/store.ts";
import type { FileRow } from "../store/uploads.ts";

export class FileRoom implements Files {
  readonly #store: Store;
  readonly #limit: number;

  constructor(store: Store, limit: number) {
    this.#store = store;
    this.#limit = limit;
  }

  async create(
    content: ReadableStream<Uint8Array>,
    filename: string,
    purpose: FilePurpose,
  ): Promise<FileObject> {
    using blob = await this.#store.blobs.put(content, this.#limit);
    const { sha256, bytes } = blob;
    if (bytes === 0) {
      await this.#forget(blob, sha256);
      throw new BullionError("file_empty", `Cannot take ${filename} as it is empty`, {
        param: "file",
      });
    }
    const row = { id: newId("file"), filename, purpose, bytes, blob: sha256 };
    return present(this.#store.files.put(row));
  }

  list(query: PageQuery & { purpose?: string }): Page<FileObject> {
    return this.#store.files.page(query, present, query.purpose);
  }

  get(id: string): FileObject {
    return present(this.#store.files.get(id));
  }

  async content(id: string): Promise<ReadableStream<Uint8Array>> {
    return await this.#store.blobs.open(this.#store.files.get(id).blob);
  }

  async delete(id: string): Promise<FileDeleted> {
    const { blob } = this.#store.files.get(id);
    this.#store.files.delete(id);
    await this.#store.forgetBlobs(blob);
    return { id, object: "file", deleted: true };
  }

  async #forget(held: Disposable, sha256: string): Promise<void> {
    held[Symbol.dispose]();
    await this.#store.forgetBlobs(sha256);
  }
}

function present({ id, filename, purpose, bytes, created_at }: FileRow): FileObject {
  return {
    id,
    object: "file",
    bytes,
    created_at: Math.floor(created_at),
    filename,
    purpose,
    status: "processed",
  };
}
