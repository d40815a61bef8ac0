/**
 * Names that users give become paths here, and nowhere else.
 *
 * A name from a client stays inside the data folder: no absolute path, no `..`, no symbolic link that
 * leads out. Everything is checked against what lies on the disk at this moment.
 */
import { dirname, isAbsolute, join, resolve, sep } from "node:path";
import { BullionError } from "../../contract/errors.ts";

/** What the service keeps for itself at the top of the data folder. */
const OWN = [
  "jobs",
  "blobs",
  "lock",
  "lock-journal",
  "holder.json",
  "bullion.db",
  "bullion.db-wal",
  "bullion.db-shm",
];

const ADVICE = "give a name below the data folder, such as output/my_model";

/** The absolute path of `name` below `root`. Refuses with `path_outside_data_folder` and `advice`. */
export function inside(
  root: string,
  name: string,
  param: string | null = null,
  advice: string = ADVICE,
): string {
  const refuse = (why: string) =>
    new BullionError("path_outside_data_folder", `Cannot use "${name}" as ${why}: ${advice}`, {
      param,
    });
  if (name === "" || name.includes("\0")) throw refuse("it is empty or holds a zero byte");
  if (isAbsolute(name) || /^[A-Za-z]:[\\/]/.test(name)) throw refuse("it is an absolute path");
  if (name.split(/[\\/]/).includes("..")) throw refuse('it holds ".."');
  const path = resolve(root, name);
  let real: string;
  try {
    real = realPathOfExisting(path);
  } catch (error) {
    throw refuse(`it cannot be followed (${(error as Error).message})`);
  }
  if (!isBelow(Deno.realPathSync(root), real)) {
    throw refuse("a symbolic link on its way leads out of the data folder");
  }
  return path;
}

/** As `inside`, for a name under which something is published: the service's own names are taken. */
export function insideForWriting(root: string, name: string, param: string | null = null): string {
  const path = inside(root, name, param);
  const top = path.slice(resolve(root).length + 1).split(sep)[0] ?? "";
  if (top === "" || OWN.includes(top)) {
    throw new BullionError(
      "output_name_reserved",
      `Cannot write to "${name}" as the service keeps "${
        top || "."
      }" for itself: choose another name`,
      { param },
    );
  }
  return path;
}

export function isBelow(folder: string, path: string): boolean {
  return path === folder || path.startsWith(folder.endsWith(sep) ? folder : folder + sep);
}

/** The real path of the deepest part of `path` that exists, with the rest appended. */
export function realPathOfExisting(path: string): string {
  try {
    return Deno.realPathSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  // A dangling link is a way out as well: what it names could come to exist.
  const link = linkTarget(path);
  if (link !== null) return realPathOfExisting(resolve(dirname(path), link));
  const parent = dirname(path);
  return parent === path ? path : join(realPathOfExisting(parent), path.slice(parent.length));
}

function linkTarget(path: string): string | null {
  try {
    return Deno.readLinkSync(path);
  } catch {
    return null;
  }
}
