/** Text as requests hold it. */
import { z } from "zod";

/** Why text that is no sequence of characters is refused. */
export const HALF_A_CHARACTER = "holds half a character (a lone surrogate): send whole characters";

/** Text that can be written as UTF-8; a JSON string may hold half of a surrogate pair. */
export const Text = z.string().refine((text) => text.isWellFormed(), HALF_A_CHARACTER);
