/**
 * Who asks: anybody with an API key, or a command on this machine that may use the data folder itself.
 *
 * Decides nothing about what is asked for. Keys are compared whole, so that the time taken tells
 * nothing about a near miss.
 */
import { isAbsolute } from "node:path";
import type { Context } from "hono";
import { BullionError } from "../contract/errors.ts";
import type { Origin } from "../core/rooms.ts";

/** Whether the request carries one of `keys`. */
export function hasKey(c: Context, keys: readonly string[]): boolean {
  const given = givenKey(c);
  let known = false;
  for (const key of keys) known = equalInTime(key, given) || known;
  return known;
}

function givenKey(c: Context): string {
  return c.req.header("authorization")?.match(/^Bearer\s+(.+)$/i)?.[1] ?? "";
}

/** Throws `invalid_api_key` unless the request carries one of `keys`. */
export function checkKey(c: Context, keys: readonly string[]): void {
  if (hasKey(c, keys)) return;
  const given = givenKey(c);
  const what = given === "" ? "No API key was given" : "The API key is not known here";
  throw new BullionError("invalid_api_key", `${what}: send \`Authorization: Bearer KEY\``);
}

const FOLDER_KEY = "Bullion-Folder-Key";
const DIRECTORY = "Bullion-Directory";

/** What a command sends with a job, so that its names mean what they mean where it was typed. */
export function originHeaders(folderKey: string, cwd: string): Record<string, string> {
  return { [FOLDER_KEY]: folderKey, [DIRECTORY]: encodeURIComponent(cwd) };
}

/**
 * Where the names of a request were written. Paths outside the data folder are only for those who can
 * read its key; throws `wrong_folder_key` for another one, `directory_not_found` for no folder here.
 */
export function originOf(c: Context, folderKey: string): Origin {
  const key = c.req.header(FOLDER_KEY);
  if (key === undefined) return { kind: "rest" };
  if (!equalInTime(folderKey, key)) {
    throw new BullionError(
      "wrong_folder_key",
      "Cannot take the job from a directory as the key is not the data folder's: " +
        "type the command again, as the service may have been started anew",
      { param: FOLDER_KEY },
    );
  }
  const cwd = decoded(c.req.header(DIRECTORY) ?? "");
  if (isAbsolute(cwd) && isFolder(cwd)) return { kind: "command_line", cwd };
  throw new BullionError(
    "directory_not_found",
    `Cannot take the job from the directory "${cwd}" as the service does not see it: ` +
      "type the command on the service's machine, or give it a data folder of its own with --data",
    { param: DIRECTORY },
  );
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function isFolder(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}

function equalInTime(a: string, b: string): boolean {
  const [left, right] = [new TextEncoder().encode(a), new TextEncoder().encode(b)];
  let difference = left.length ^ right.length;
  for (let i = 0; i < left.length; i++) difference |= left[i]! ^ (right[i] ?? 0);
  return difference === 0;
}
