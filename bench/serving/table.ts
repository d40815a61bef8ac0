/** The parts' results beside each other: rows of ours, over HTTP, of Transformers, and ratios. Pure. */

export type Part = Record<string, unknown>;

export interface Results {
  alone?: Part;
  http?: Part;
  peers: Record<string, Part>; // by way
}

const HEAD = ["", "alone", "HTTP", "HTTP/alone", "of floor", "generate", "compiled", "batching"];
/** Where the numbers of a load come from and what is said of them. */
const KEPT = / kept running$/;

/** Lines of the table. A cell without a number is a dash; ratios say what divides what. */
export function table(results: Results): string[] {
  const { alone = {}, http = {}, peers } = results;
  const names = Object.keys(alone).concat(Object.keys(http));
  const crowds = [...new Set(names.filter((name) => /^\d+ streams?(,|$)/.test(name)))];
  const kept = names.find((name) => KEPT.test(name));
  const rows: string[][] = [HEAD];
  for (const crowd of crowds) {
    const [a, h] = [
      figure(alone, crowd, "tokens_per_second"),
      figure(http, crowd, "tokens_per_second"),
    ];
    const ours = h ?? a;
    const floor = figure(alone, `floor, ${crowd}, tokens/s`);
    const peer = (way: string, name: string) => {
      const theirs = figure(peers[way] ?? {}, name);
      return theirs && ours ? `${whole(theirs)} (${(ours / theirs).toFixed(1)} ×)` : "–";
    };
    const base = crowd.replace(/,.*/, "");
    rows.push([
      `${crowd}, tokens/s`,
      whole(a),
      whole(h),
      percent(h, a),
      percent(ours, floor),
      peer("generate", "1 stream"),
      peer("compiled", "1 stream"),
      peer("batching", base),
    ]);
  }
  const beside = (name: string, load: string, key?: string) => {
    const [a, h] = [figure(alone, load, key), figure(http, load, key)];
    if (a || h) rows.push([name, tenths(a), tenths(h), percent(h, a), "–", "–", "–", "–"]);
  };
  for (const crowd of crowds) beside(`first token, ${crowd}, ms`, crowd, "first_token_ms");
  if (kept) beside(`gap p95, ${kept}, ms`, kept, "gap_p95_ms");
  if (kept) beside(`longest gap, ${kept}, ms`, kept, "gap_max_ms");
  beside("process start → first token, s", "ready, seconds");
  const widths = HEAD.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const lines = rows.map((row) =>
    row.map((cell, column) => column ? cell.padStart(widths[column]!) : cell.padEnd(widths[0]!))
      .join("  ").trimEnd()
  );
  const failed = Object.entries(peers).flatMap(([way, { failed }]) =>
    failed ? [`transformers, ${way}: ${failed}`] : []
  );
  return [
    ...lines,
    "×: ours (over HTTP where measured) over theirs; generate and compiled are one stream.",
    ...failed,
  ];
}

function figure(part: Part, name: string, key?: string): number | null {
  const found = part[name];
  const value = key ? (found as Part | undefined)?.[key] : found;
  return typeof value === "number" ? value : null;
}

function whole(value: number | null): string {
  return value === null ? "–" : value.toFixed(0);
}

function tenths(value: number | null): string {
  return value === null ? "–" : value.toFixed(1);
}

function percent(part: number | null, of: number | null): string {
  return part && of ? `${((100 * part) / of).toFixed(1)} %` : "–";
}
