/**
 * Uploaded bytes under the SHA-256 of their content, beside the database.
 *
 * A blob appears under its name only whole and on the disk: temporary name, fsync, rename, fsync of
 * the folder. Rows point here; what no row points to is swept at the next start.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { BullionError } from "../../contract/errors.ts";
import { storageError } from "./database.ts";

/** Stored bytes that nobody may remove until this is disposed of: by then a row points to them. */
export interface HeldBlob extends Disposable {
  readonly sha256: string;
  readonly bytes: number;
}

const PARTIAL = "partial-";

type Create = (path: string) => Promise<Deno.FsFile>;
const createNew: Create = (path) => Deno.open(path, { write: true, createNew: true });

export class Blobs {
  readonly #folder: string;
  readonly #create: Create;
  readonly #held = new Map<string, number>();

  constructor(folder: string, create: Create = createNew) {
    this.#folder = folder;
    this.#create = create;
    Deno.mkdirSync(folder, { recursive: true });
  }

  path(sha256: string): string {
    return join(this.#folder, sha256.slice(0, 2), sha256);
  }

  /** Reads `content` to its end. Refuses with `file_too_large` or `disk_full`, leaving nothing. */
  async put(content: ReadableStream<Uint8Array>, limit: number): Promise<HeldBlob> {
    const partial = join(this.#folder, PARTIAL + crypto.randomUUID());
    const hash = createHash("sha256");
    let bytes = 0;
    try {
      using file = await this.#create(partial);
      for await (const chunk of content) {
        bytes += chunk.byteLength;
        if (bytes > limit) throw tooLarge(limit);
        hash.update(chunk);
        for (let done = 0; done < chunk.byteLength;) {
          done += await file.write(chunk.subarray(done));
        }
      }
      await file.sync();
    } catch (error) {
      await Deno.remove(partial).catch(() => {});
      throw storageError(error);
    }
    const sha256 = hash.digest("hex");
    const place = this.path(sha256);
    const held = this.#hold(sha256, bytes);
    try {
      await Deno.mkdir(join(place, ".."), { recursive: true });
      await Deno.rename(partial, place);
      await syncFolder(join(place, ".."));
    } catch (error) {
      held[Symbol.dispose]();
      await Deno.remove(partial).catch(() => {});
      throw storageError(error);
    }
    return held;
  }

  putText(text: string): Promise<HeldBlob> {
    const bytes = new TextEncoder().encode(text);
    return this.put(ReadableStream.from([bytes]), Infinity);
  }

  async open(sha256: string): Promise<ReadableStream<Uint8Array>> {
    return (await Deno.open(this.path(sha256))).readable;
  }

  text(sha256: string): Promise<string> {
    return Deno.readTextFile(this.path(sha256));
  }

  /** Removes what a crash left: partial files, and blobs that `kept` does not name. */
  sweep(kept: ReadonlySet<string>): void {
    for (const entry of Deno.readDirSync(this.#folder)) {
      const path = join(this.#folder, entry.name);
      if (entry.isFile && entry.name.startsWith(PARTIAL)) Deno.removeSync(path);
      if (!entry.isDirectory) continue;
      for (const blob of Deno.readDirSync(path)) {
        if (!kept.has(blob.name)) Deno.removeSync(join(path, blob.name));
      }
    }
  }

  /** Does nothing to a blob that is held: somebody has just stored the same bytes again. */
  async remove(sha256: string): Promise<void> {
    if (this.#held.has(sha256)) return;
    await Deno.remove(this.path(sha256)).catch(() => {});
  }

  #hold(sha256: string, bytes: number): HeldBlob {
    this.#held.set(sha256, (this.#held.get(sha256) ?? 0) + 1);
    let over = false;
    return {
      sha256,
      bytes,
      [Symbol.dispose]: () => {
        if (over) return;
        over = true;
        const left = this.#held.get(sha256)! - 1;
        if (left === 0) this.#held.delete(sha256);
        else this.#held.set(sha256, left);
      },
    };
  }
}

/** Makes names in `folder` survive a power cut. */
export async function syncFolder(folder: string): Promise<void> {
  using handle = await Deno.open(folder);
  await handle.sync();
}

function tooLarge(limit: number): BullionError {
  return new BullionError(
    "file_too_large",
    `Cannot take the file as it has more than ${limit} bytes: split it, or raise the limit ` +
      "(upload_bytes) in the server's configuration",
    { param: "file" },
  );
}
