/**
 * What a report becomes: pages of blocks, chunks, facts, question-answer pairs.
 *
 * Character offsets count UTF-16 units in the `text` of the page they name; pages count from 1.
 * Values are as the report prints them (with the unit that its table states), never recomputed.
 */
import { z } from "zod";

const Span = { start: z.int().nonnegative(), end: z.int().nonnegative() };

/** A cell stands in the row where it begins; `columns` and `rows` say how far it reaches. */
export const Cell = z.object({
  text: z.string(),
  column: z.int().nonnegative(),
  columns: z.int().positive(),
  rows: z.int().positive(),
  start: z.int().nonnegative(),
});
export type Cell = z.infer<typeof Cell>;

/** A stretch of one page. A table's `text` is its rows, cells joined by " | ", one row a line. */
export const Block = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("heading"), level: z.int().positive(), text: z.string(), ...Span }),
  z.object({ kind: z.literal("paragraph"), text: z.string(), ...Span }),
  z.object({
    kind: z.literal("table"),
    text: z.string(),
    /** Borders of the columns from left to right, in points: one more than there are columns. */
    edges: z.array(z.number()).min(2),
    rows: z.array(z.array(Cell)),
    ...Span,
  }),
]);
export type Block = z.infer<typeof Block>;
export type TableBlock = Extract<Block, { kind: "table" }>;

/** One page without its header, footer and page number; these are kept in `furniture`. */
export const Page = z.object({
  number: z.int().positive(),
  text: z.string(),
  blocks: z.array(Block),
  furniture: z.array(z.string()),
});
export type Page = z.infer<typeof Page>;

export const DocumentText = z.object({ name: z.string(), pages: z.array(Page) });
export type DocumentText = z.infer<typeof DocumentText>;

/** Clean text for a question writer: a run of paragraphs or whole table rows under one heading. */
export const Chunk = z.object({
  index: z.int().nonnegative(),
  heading_path: z.array(z.string()),
  page_from: z.int().positive(),
  page_to: z.int().positive(),
  text: z.string(),
});
export type Chunk = z.infer<typeof Chunk>;

/** Where something stands: the sentence or table row, its page, and the value's place on that page. */
export const Evidence = z.object({ text: z.string(), page: z.int().positive(), ...Span });
export type Evidence = z.infer<typeof Evidence>;

export const FactKind = z.enum(["figure", "attribute", "change"]);
export type FactKind = z.infer<typeof FactKind>;

/** `period` is "" for an attribute. `value` carries its unit; a change carries its direction. */
export const Fact = z.object({
  kind: FactKind,
  company: z.string(),
  period: z.string(),
  item: z.string(),
  value: z.string(),
  evidence: Evidence,
});
export type Fact = z.infer<typeof Fact>;

/** A fact that was found and not used, and why. */
export const DroppedFact = z.object({
  reason: z.enum(["contradiction", "unclear"]),
  item: z.string(),
  period: z.string(),
  values: z.array(z.string()),
  pages: z.array(z.int().positive()),
});
export type DroppedFact = z.infer<typeof DroppedFact>;

export const Pair = z.object({
  question: z.string().min(1),
  answer: z.string().min(1),
  evidence: Evidence,
});
export type Pair = z.infer<typeof Pair>;
