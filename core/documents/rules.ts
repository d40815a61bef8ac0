/**
 * Ruling lines of a page, out of its drawing operators: strokes along an axis and filled slivers.
 *
 * Reports draw table borders in either way. Curves, slopes, clips and filled areas are ignored.
 */
import type { Operators } from "./pdfjs.ts";

/** A horizontal (y0 = y1) or vertical (x0 = x1) line in points, from the lower left corner. */
export interface Rule {
  x0: number;
  y0: number;
  x1: number;
  y1: number;
}

type Matrix = [number, number, number, number, number, number];
type Point = [number, number];
type Place = (x: number, y: number) => Point;

const THIN = 2.5; // a filled box up to this many points across is a line
const SHORT = 4; // lines below this length are dashes, dots and check boxes

/** pdfjs's numbers for the operators that draw, by their names. */
export type OperatorCodes = Record<string, number>;

const FILLS = ["fill", "eoFill"];
const STROKES = [
  "stroke",
  "closeStroke",
  "fillStroke",
  "eoFillStroke",
  "closeFillStroke",
  "closeEOFillStroke",
];
/** Operators inside a constructPath buffer and how many coordinates follow each. */
const PATH_OPERANDS: Record<number, number> = { 0: 2, 1: 2, 2: 6, 3: 4, 4: 0 };
const [MOVE, LINE, CLOSE] = [0, 1, 4];

function multiply(m: Matrix, n: Matrix): Matrix {
  return [
    m[0] * n[0] + m[2] * n[1],
    m[1] * n[0] + m[3] * n[1],
    m[0] * n[2] + m[2] * n[3],
    m[1] * n[2] + m[3] * n[3],
    m[0] * n[4] + m[2] * n[5] + m[4],
    m[1] * n[4] + m[3] * n[5] + m[5],
  ];
}

/** `place` turns the page's own coordinates into upright ones. */
export function rulesOf(operators: Operators, codes: OperatorCodes, place: Place): Rule[] {
  const [fills, strokes] = [FILLS, STROKES].map((names) =>
    new Set(names.map((name) => codes[name]))
  );
  const rules: Rule[] = [];
  const stack: Matrix[] = [];
  let matrix: Matrix = [1, 0, 0, 1, 0, 0];
  operators.fnArray.forEach((operator, at) => {
    const args = operators.argsArray[at];
    if (operator === codes.save) stack.push(matrix);
    else if (operator === codes.restore) matrix = stack.pop() ?? matrix;
    else if (operator === codes.transform) matrix = multiply(matrix, args as Matrix);
    else if (operator === codes.paintFormXObjectBegin) {
      stack.push(matrix);
      if (args?.[0]) matrix = multiply(matrix, args[0] as Matrix);
    } else if (operator === codes.paintFormXObjectEnd) matrix = stack.pop() ?? matrix;
    else if (operator === codes.constructPath) {
      const painted = args[0] as number;
      const buffer = (args[1] as (ArrayLike<number> | null)[])[0];
      if (!buffer) return;
      const [a, b, c, d, e, f] = matrix;
      const put: Place = (x, y) => place(a * x + c * y + e, b * x + d * y + f);
      for (const path of subpaths(buffer, put)) {
        if (fills!.has(painted)) addSliver(rules, path);
        else if (strokes!.has(painted)) addSegments(rules, path);
      }
    }
  });
  return rules;
}

/** Straight subpaths as points; one with a curve is left out. */
function subpaths(buffer: ArrayLike<number>, put: Place): Point[][] {
  const paths: Point[][] = [];
  let path: Point[] = [];
  let straight = true;
  const close = () => {
    if (straight && path.length > 1) paths.push(path);
    path = [];
    straight = true;
  };
  for (let at = 0; at < buffer.length;) {
    const operator = buffer[at]!;
    const operands = PATH_OPERANDS[operator];
    if (operands === undefined) break; // an operator this reader does not know: stop, do not guess
    if (operator === MOVE) close();
    if (operator === MOVE || operator === LINE) path.push(put(buffer[at + 1]!, buffer[at + 2]!));
    else if (operator === CLOSE) {
      if (path.length > 0) path.push(path[0]!);
    } else straight = false;
    at += 1 + operands;
  }
  close();
  return paths;
}

function addSliver(rules: Rule[], path: Point[]): void {
  const xs = path.map(([x]) => x);
  const ys = path.map(([, y]) => y);
  const [x0, x1] = [Math.min(...xs), Math.max(...xs)];
  const [y0, y1] = [Math.min(...ys), Math.max(...ys)];
  addRule(rules, x0, y0, x1, y1);
}

function addSegments(rules: Rule[], path: Point[]): void {
  for (let i = 1; i < path.length; i++) {
    const [x0, y0] = path[i - 1]!;
    const [x1, y1] = path[i]!;
    addRule(rules, Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1), Math.max(y0, y1));
  }
}

function addRule(rules: Rule[], x0: number, y0: number, x1: number, y1: number): void {
  const [width, height] = [x1 - x0, y1 - y0];
  if (height <= THIN && width >= SHORT) {
    const y = (y0 + y1) / 2;
    rules.push({ x0, y0: y, x1, y1: y });
  } else if (width <= THIN && height >= SHORT) {
    const x = (x0 + x1) / 2;
    rules.push({ x0: x, y0, x1: x, y1 });
  }
}
