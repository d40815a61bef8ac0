/**
 * The data folder as one thing: lock, database, blobs and the rows of each room.
 *
 * Opening takes the lock, migrates, and sweeps what a crash left behind; closing gives the lock back.
 */
import { join } from "node:path";
import { BullionError } from "../../contract/errors.ts";
import { Blobs } from "./blobs.ts";
import { Database } from "./database.ts";
import { EventRows } from "./events.ts";
import { JobRows } from "./jobs.ts";
import { FolderLock } from "./lock.ts";
import { ModelRows } from "./models.ts";
import { isBelow } from "./paths.ts";
import { UploadRows } from "./uploads.ts";

export class Store<P = unknown> {
  readonly folder: string;
  readonly blobs: Blobs;
  readonly files: UploadRows<"files">;
  readonly datasets: UploadRows<"datasets">;
  readonly documents: UploadRows<"documents">;
  readonly jobs: JobRows<P>;
  readonly events: EventRows;
  readonly models: ModelRows;
  readonly #lock: FolderLock;
  readonly #database: Database;

  private constructor(folder: string, lock: FolderLock, database: Database) {
    this.folder = folder;
    this.#lock = lock;
    this.#database = database;
    this.blobs = new Blobs(join(folder, "blobs"));
    this.files = new UploadRows(database, "files");
    this.datasets = new UploadRows(database, "datasets");
    this.documents = new UploadRows(database, "documents");
    this.jobs = new JobRows<P>(database);
    this.events = new EventRows(database);
    this.models = new ModelRows(database);
  }

  /** Throws `data_folder_in_use` with the holder, or `data_folder_too_new`. Makes the folder. */
  static open<P>(folder: string, command: string | null): Store<P> {
    const real = makeFolder(folder);
    const lock = new FolderLock(real, command);
    try {
      const store = new Store<P>(real, lock, new Database(join(real, "bullion.db")));
      store.blobs.sweep(store.#keptBlobs());
      return store;
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  /** Folder of a job's artefacts. */
  jobFolder(jobId: string): string {
    return join(this.folder, "jobs", jobId);
  }

  /** The job whose folder holds `path`, a real path; null for a path elsewhere. */
  jobOfPath(path: string): string | null {
    const jobs = join(this.folder, "jobs");
    return isBelow(jobs, path) ? path.slice(jobs.length + 1).split("/")[0] || null : null;
  }

  /** See core/store/lock. */
  get key(): string {
    return this.#lock.key;
  }

  announce(address: string | null): void {
    this.#lock.announce(address);
  }

  transaction<T>(work: () => T): T {
    return this.#database.transaction(work);
  }

  /** Removes a blob that no row points to any more. */
  async forgetBlobs(...blobs: string[]): Promise<void> {
    const kept = this.#keptBlobs();
    for (const blob of blobs) if (!kept.has(blob)) await this.blobs.remove(blob);
  }

  close(): void {
    this.#database.close();
    this.#lock.release();
  }

  #keptBlobs(): Set<string> {
    const rows = this.#database.all<{ blob: string }>(
      `SELECT blob FROM files UNION SELECT blob FROM datasets UNION SELECT blob FROM documents
       UNION SELECT text_blob FROM documents UNION SELECT chunks_blob FROM documents`,
    );
    return new Set(rows.map((row) => row.blob));
  }
}

/** The data folder's real path; made if it is not there. */
function makeFolder(folder: string): string {
  try {
    Deno.mkdirSync(join(folder, "jobs"), { recursive: true });
    return Deno.realPathSync(folder);
  } catch (cause) {
    throw new BullionError(
      "data_folder_unusable",
      `Cannot use ${folder} as the data folder: ${(cause as Error).message}. ` +
        "Name a folder that can be written, with --data or BULLION_DATA",
      { param: "data_dir", cause },
    );
  }
}
