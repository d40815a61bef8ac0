/**
 * Ruled tables: ruling lines into grids of cells, with merged cells recognised by missing borders.
 *
 * It says where cells are; which text lies in them is decided in tables.ts.
 */
import type { Rule } from "./rules.ts";

/** A cell's place in its grid (0-based, row 0 on top) and on the page, in points. */
export interface GridCell {
  row: number;
  column: number;
  rows: number;
  columns: number;
  left: number;
  right: number;
  bottom: number;
  top: number;
}

export interface Grid {
  left: number;
  right: number;
  bottom: number;
  top: number;
  edges: number[]; // of the columns, from left to right
  cells: GridCell[];
}

const MOST_CELLS = 20_000; // of a table; what is finer is a drawing
const NEAR = 2.5; // points within which two borders are the same border

/** Every connected set of rules that encloses at least two cells, top to bottom. */
export function findGrids(rules: readonly Rule[]): Grid[] {
  const horizontal = mergePieces(rules.filter((rule) => rule.y0 === rule.y1), "y0", "x0", "x1");
  const vertical = mergePieces(rules.filter((rule) => rule.x0 === rule.x1), "x0", "y0", "y1");
  return components(horizontal, vertical)
    .map(([h, v]) => toGrid(h, v))
    .filter((grid) => grid !== undefined)
    .sort((a, b) => b.top - a.top);
}

type Axis = keyof Rule;

/** Borders are often drawn cell by cell: collinear pieces that touch become one line. */
function mergePieces(pieces: Rule[], across: Axis, from: Axis, to: Axis): Rule[] {
  const merged: Rule[] = [];
  const other: Axis = across === "y0" ? "y1" : "x1";
  for (const group of clusters(pieces, (piece) => piece[across])) {
    const level = group.reduce((sum, piece) => sum + piece[across], 0) / group.length;
    let last: Rule | undefined;
    for (const piece of group.sort((a, b) => a[from] - b[from])) {
      if (last && piece[from] <= last[to] + NEAR) last[to] = Math.max(last[to], piece[to]);
      else merged.push(last = { ...piece, [across]: level, [other]: level });
    }
  }
  return merged;
}

/** Groups of neighbours on one axis. */
function clusters<T>(things: T[], position: (thing: T) => number): T[][] {
  const groups: T[][] = [];
  for (const thing of [...things].sort((a, b) => position(a) - position(b))) {
    const group = groups.at(-1);
    if (group && position(thing) - position(group[0]!) <= NEAR) group.push(thing);
    else groups.push([thing]);
  }
  return groups;
}

function touch(h: Rule, v: Rule): boolean {
  return v.x0 >= h.x0 - NEAR && v.x0 <= h.x1 + NEAR && h.y0 >= v.y0 - NEAR && h.y0 <= v.y1 + NEAR;
}

function components(horizontal: Rule[], vertical: Rule[]): [Rule[], Rule[]][] {
  const waiting = { h: new Set(horizontal), v: new Set(vertical) };
  const found: [Rule[], Rule[]][] = [];
  for (const seed of horizontal) {
    if (!waiting.h.delete(seed)) continue;
    const [h, v]: [Rule[], Rule[]] = [[seed], []];
    for (let i = 0, j = 0; i < h.length || j < v.length;) {
      if (i < h.length) {
        const rule = h[i++]!;
        for (const next of waiting.v) if (touch(rule, next)) waiting.v.delete(next) && v.push(next);
      } else {
        const rule = v[j++]!;
        for (const next of waiting.h) if (touch(next, rule)) waiting.h.delete(next) && h.push(next);
      }
    }
    if (v.length > 0) found.push([h, v]);
  }
  return found;
}

/** Tables open at their sides are closed at the ends of their lines. */
function toGrid(h: Rule[], v: Rule[]): Grid | undefined {
  const left = Math.min(...h.map((rule) => rule.x0), ...v.map((rule) => rule.x0));
  const right = Math.max(...h.map((rule) => rule.x1), ...v.map((rule) => rule.x0));
  const bottom = Math.min(...v.map((rule) => rule.y0), ...h.map((rule) => rule.y0));
  const top = Math.max(...v.map((rule) => rule.y1), ...h.map((rule) => rule.y0));
  const levels = (values: number[]) =>
    clusters(values, (value) => value).map((group) => group.reduce((a, b) => a + b) / group.length);
  const xs = levels([left, ...v.map((rule) => rule.x0), right]);
  const ys = levels([bottom, ...h.map((rule) => rule.y0), top]).reverse();
  const [rows, columns] = [ys.length - 1, xs.length - 1];
  if (rows < 1 || columns < 1 || rows * columns < 2) return undefined;
  if (rows * columns > MOST_CELLS) return undefined;

  const hasBorder = {
    above: (row: number, column: number) => {
      const x = (xs[column]! + xs[column + 1]!) / 2;
      return h.some((rule) => Math.abs(rule.y0 - ys[row]!) <= NEAR && rule.x0 <= x && rule.x1 >= x);
    },
    leftOf: (row: number, column: number) => {
      const y = (ys[row]! + ys[row + 1]!) / 2;
      return v.some((rule) =>
        Math.abs(rule.x0 - xs[column]!) <= NEAR && rule.y0 <= y && rule.y1 >= y
      );
    },
  };
  const cells: GridCell[] = [];
  const taken = new Set<number>();
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      if (taken.has(row * columns + column)) continue;
      let [down, across] = [1, 1];
      while (column + across < columns && !hasBorder.leftOf(row, column + across)) across++;
      while (row + down < rows && !hasBorder.above(row + down, column)) down++;
      for (let r = row; r < row + down; r++) {
        for (let c = column; c < column + across; c++) taken.add(r * columns + c);
      }
      cells.push({
        row,
        column,
        rows: down,
        columns: across,
        left: xs[column]!,
        right: xs[column + across]!,
        top: ys[row]!,
        bottom: ys[row + down]!,
      });
    }
  }
  return cells.length > 1 ? { left, right, bottom, top, edges: xs, cells } : undefined;
}
