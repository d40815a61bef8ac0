/**
 * The known word that was meant by an unknown one, and what a message says of it.
 *
 * A word that is near nothing gets no proposal: an absurd one sends its reader the wrong way.
 */

/** Number of insertions, deletions, replacements and swaps of neighbours between two words. */
export function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min(row[j - 1]! + 1, last[j]! + 1, last[j - 1]! + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        cost = Math.min(cost, beforeLast[j - 2]! + 1);
      }
      row.push(cost);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length]!;
}

/** The word that was meant; among equals the first of `known`. Null if none is near. */
export function nearest(word: string, known: Iterable<string>): string | null {
  if (word.length > LONGEST) return null;
  const words = [...known];
  const lower = word.toLowerCase();
  const whichHolds = (holds: (candidate: string) => boolean) =>
    words.find((candidate) => holds(candidate.toLowerCase())) ?? null;
  return slipOf(lower, words) ??
    (lower.length < SHORTEST ? null : whichHolds((candidate) => candidate.startsWith(lower)) ??
      whichHolds((candidate) => holdsParts(candidate, lower)) ??
      whichHolds((candidate) => sharedPrefix(candidate, lower) * 3 >= lower.length * 2));
}

/** What there is instead of an unknown word: the nearest, or all where they are few, or `otherwise`. */
export function instead(word: string, known: Iterable<string>, otherwise = "take it out"): string {
  const words = [...known];
  const near = nearest(word, words);
  if (near !== null) return `the nearest one is ${near}`;
  if (words.length === 0 || words.length > FEW) return otherwise;
  if (words.length === 1) return `there is only ${words[0]}`;
  return `there are ${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

const FEW = 12; // words that a message lists
const LONGEST = 200; // letters of a word that is looked for: more than any name has
const SHORTEST = 3; // letters from which a part of a word says which one is meant

/** The word with the fewest slips between, if a third of its letters at most are wrong. */
function slipOf(lower: string, words: string[]): string | null {
  let best: string | null = null;
  let bestDistance = Infinity;
  for (const candidate of words) {
    const distance = editDistance(lower, candidate.toLowerCase());
    const most = Math.floor(Math.max(lower.length, candidate.length) / 3);
    if (distance <= most && distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** Whether all parts of one name stand in another: batch_size in per_device_train_batch_size. */
function holdsParts(candidate: string, lower: string): boolean {
  const parts = new Set(candidate.split(/[_.-]/));
  return lower.split(/[_.-]/).every((part) => parts.has(part));
}

function sharedPrefix(a: string, b: string): number {
  let length = 0;
  while (length < a.length && a[length] === b[length]) length += 1;
  return length;
}
