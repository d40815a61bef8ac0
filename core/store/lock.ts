/**
 * One holder for a data folder.
 *
 * The lock is an exclusive SQLite transaction on the file `lock`: the kernel frees it when the process
 * ends, however it ends, so no stale process number has to be guessed about. `holder.json` beside it
 * tells others whom to ask instead, and holds a key that only those can read who may use the folder:
 * who sends it to the holder asks as if the folder were his own.
 */
import { DatabaseSync } from "node:sqlite";
import { join } from "node:path";
import { z } from "zod";
import { BullionError } from "../../contract/errors.ts";

const Holder = z.object({
  pid: z.int(),
  address: z.string().nullable(), // null: a command, or a service before it listens
  command: z.string().nullable().default(null), // of Bullion's command line; null: not known
  key: z.string().nullable().default(null), // null: of a version that had none
});
export type Holder = z.infer<typeof Holder>;

/** `param` is the address of the holder, to hand the work to; null where it listens nowhere. */
function inUse(folder: string, holder: Holder | null): BullionError {
  const { address = null, command = null } = holder ?? {};
  const process = holder === null ? "another process" : `process ${holder.pid}`;
  const does = command === null ? process : `${process}, which runs \`deno task ${command}\`,`;
  const [who, advice] = address === null
    ? [does, "wait until it has ended, end it"]
    : [`${process}, which listens on ${address},`, "ask that service, stop it"];
  return new BullionError(
    "data_folder_in_use",
    `Cannot use the data folder ${folder} as ${who} holds it: ${advice}, or choose another folder ` +
      "with --data",
    { param: address },
  );
}

export class FolderLock {
  /** New for every holder. */
  readonly key = crypto.randomUUID();
  readonly #folder: string;
  readonly #command: string | null;
  readonly #sqlite: DatabaseSync;

  /** Takes the lock or throws `data_folder_in_use`. `command` is what others are told of the holder. */
  constructor(folder: string, command: string | null) {
    this.#folder = folder;
    this.#command = command;
    this.#sqlite = new DatabaseSync(join(folder, "lock"));
    try {
      this.#sqlite.exec("PRAGMA busy_timeout = 0");
      this.#sqlite.exec("BEGIN EXCLUSIVE");
    } catch (error) {
      this.#sqlite.close();
      if (!/locked|busy/.test(String(error))) throw error;
      throw inUse(folder, readHolder(folder));
    }
    this.announce(null);
  }

  /** Tells others where this holder listens. */
  announce(address: string | null): void {
    const place = join(this.#folder, "holder.json");
    const holder: Holder = { pid: Deno.pid, address, command: this.#command, key: this.key };
    Deno.writeTextFileSync(place + ".new", "", { mode: 0o600 });
    Deno.chmodSync(place + ".new", 0o600); // one that was left behind keeps its mode
    Deno.writeTextFileSync(place + ".new", JSON.stringify(holder) + "\n");
    Deno.renameSync(place + ".new", place);
  }

  release(): void {
    try {
      Deno.removeSync(join(this.#folder, "holder.json"));
    } catch { /* gone already: the lock itself is what counts */ }
    this.#sqlite.exec("ROLLBACK");
    this.#sqlite.close();
  }
}

/** Who holds the folder, as far as it can be read. */
export function readHolder(folder: string): Holder | null {
  try {
    return Holder.parse(JSON.parse(Deno.readTextFileSync(join(folder, "holder.json"))));
  } catch {
    return null;
  }
}
