/** The tiny base that the project brings along: where it lies, and whether a path is it. */
import { fileURLToPath } from "node:url";
import { realPathOfExisting } from "../store/paths.ts";

export const EMBEDDED_BASE = fileURLToPath(new URL("../../models/bullion-tiny", import.meta.url));

export function isEmbedded(path: string): boolean {
  return realPathOfExisting(path) === realPathOfExisting(EMBEDDED_BASE);
}
