/**
 * Running headers, footers and page numbers: what recurs at the same height at the top or bottom of
 * pages. No string is known beforehand; digits count as equal, so that page numbers recur too.
 */
import type { Line } from "./lines.ts";

const ZONE = 0.13; // share of the page height in which furniture can stand, above and below
const SAME_HEIGHT = 3; // points
const MOST = 0.6; // share of the pages (all, odd or even ones) on which a place recurs

/** The lines of a page that lie outside its tables. */
export interface PageLines {
  number: number;
  height: number;
  lines: Line[];
}

function mask(text: string): string {
  return text.replace(/[0-9]+|[ivxIVX]+(?=$|\W)/g, "#").replace(/\s/g, "");
}

/** For each page its lines that are furniture. A document of one page has none. */
export function findFurniture(pages: readonly PageLines[]): Map<number, Set<Line>> {
  const found = new Map(pages.map((page) => [page.number, new Set<Line>()]));
  for (const top of [true, false]) {
    for (const slot of slots(pages, top)) {
      const texts = new Map<string, number>();
      for (const { line } of slot) {
        texts.set(mask(line.text), (texts.get(mask(line.text)) ?? 0) + 1);
      }
      const recurring = slot.filter(({ line }) => texts.get(mask(line.text))! >= 2);
      if (!recursOnMost(new Set(recurring.map(({ page }) => page)), pages)) continue;
      for (const { page, line } of recurring) found.get(page)!.add(line);
    }
  }
  return found;
}

type Placed = { page: number; line: Line; distance: number };

/** Outer lines of all pages, grouped by their distance from the page's edge. */
function slots(pages: readonly PageLines[], top: boolean): Placed[][] {
  const placed = pages.flatMap(({ number, height, lines }) =>
    lines.map((line) => ({ page: number, line, distance: top ? height - line.y : line.y }))
      .filter(({ distance }) => distance >= 0 && distance <= ZONE * height)
  ).sort((a, b) => a.distance - b.distance);
  const groups: Placed[][] = [];
  for (const next of placed) {
    const group = groups.at(-1);
    if (group && next.distance - group[0]!.distance <= SAME_HEIGHT) group.push(next);
    else groups.push([next]);
  }
  return groups;
}

function recursOnMost(numbers: Set<number>, pages: readonly PageLines[]): boolean {
  return [() => true, (n: number) => n % 2 === 0, (n: number) => n % 2 === 1].some((counts) => {
    const all = pages.filter((page) => counts(page.number));
    const hit = all.filter((page) => numbers.has(page.number));
    return hit.length > 0 && hit.length >= MOST * all.length;
  });
}
