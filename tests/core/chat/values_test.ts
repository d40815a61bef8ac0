/** JSON that clients make up is handed on only where it arrives as it was meant. */
import assert from "node:assert/strict";
import { faultOf, schemaFaultOf } from "../../../core/chat/values.ts";

function nested(depth: number, around: (inner: unknown) => unknown): unknown {
  let value: unknown = {};
  for (let level = 1; level < depth; level++) value = around(value);
  return value;
}

for (
  const [what, around] of Object.entries({
    objects: (inner: unknown) => ({ a: inner }),
    lists: (inner: unknown) => [inner],
  })
) {
  Deno.test(`${what} may be 100 deep, and no depth overflows the one who looks`, () => {
    assert.equal(faultOf(nested(100, around)), null);
    assert.match(faultOf(nested(101, around))!, /nested too deeply/);
    assert.match(faultOf(nested(1_000_000, around))!, /nested too deeply/);
  });
}

Deno.test("half a character is found in keys and in values, and a whole one is none", () => {
  assert.match(faultOf({ a: ["\ud800"] })!, /half a character/);
  assert.match(faultOf({ a: { "\udc00": 1 } })!, /half a character/);
  assert.match(schemaFaultOf({ const: "\ud800" })!, /half a character/);
  assert.equal(faultOf({ "😀": ["😀"] }), null);
});

const rounded = JSON.parse("9007199254740993"); // 2^53 + 1, as JSON.parse reads it
for (
  const [key, schema] of [
    ["minimum", { type: "integer", minimum: 1e30, maximum: 5 }],
    ["maximum", { properties: { maximum: { maximum: rounded } } }],
    ["exclusiveMinimum", { anyOf: [{ type: "null" }, { exclusiveMinimum: -(2 ** 53) }] }],
    ["exclusiveMaximum", { $defs: { a: { items: { exclusiveMaximum: 2 ** 63 } } } }],
    ["multipleOf", { prefixItems: [true, { multipleOf: 1e20 }] }],
    ["const", { properties: { default: { const: { id: [rounded] } } } }],
    ["maximum", { type: "number", maximum: 1e30 }],
    ["maxLength", { type: "string", maxLength: 2 ** 53 }],
    ["minItems", { properties: { a: { type: "array", minItems: 2 ** 60 } } }],
    ["enum", { components: { schemas: { a: { enum: ["a", rounded] } } } }],
  ] as const
) {
  Deno.test(`an integer that was rounded is no ${key}`, () => {
    const fault = schemaFaultOf(schema);
    assert.match(fault!, new RegExp(`in \`${key}\`.*2\\^53 − 1.*rounded`));
  });
}

Deno.test("integers that are exact, fractions, and what has no effect are taken", () => {
  const most = Number.MAX_SAFE_INTEGER;
  for (
    const schema of [
      { type: "integer", minimum: -most, maximum: most, multipleOf: 7 },
      { type: "number", minimum: 1e-30, maximum: 0.5, enum: [most, "9007199254740993"] },
      { properties: { a: { type: "number", const: 1e300, enum: [1e300, 2e300] } } },
      { default: 1e30, examples: [1e30], properties: { const: { default: 1e30 } } },
    ]
  ) assert.equal(schemaFaultOf(schema), null);
});

Deno.test("a number that no double holds is refused, not made null on its way", () => {
  assert.match(faultOf(JSON.parse('{"a": [1e400]}'))!, /beyond ±1.8e308/);
  assert.match(schemaFaultOf({ type: "number", minimum: -Infinity })!, /beyond/);
});
