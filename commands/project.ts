/** Where the project lies: its own files are found from here, a user's files never are. */
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

export const PROJECT: string = dirname(dirname(fileURLToPath(import.meta.url)));
