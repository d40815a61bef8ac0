// Where a text stops being JSON.
import { deepStrictEqual, equal, match } from "node:assert/strict";
import { jsonFault } from "../../../core/datasets/json_fault.ts";

const FAULTS: [string, number, RegExp][] = [
  ['{"a": }', 6, /a value is due, found }/],
  ['{"a": 1,}', 8, /a name in double quotes is due, found }/],
  ["{'a': 1}", 1, /a name in double quotes is due, found 'a'/],
  ['{"a" 1}', 5, /a colon is due/],
  ['{"a": 1 "b": 2}', 8, /a comma or } is due/],
  ["[1, 2", 5, /a comma or \] is due, found the end/],
  ["[1}", 2, /a comma or \] is due, found }/],
  ['{"a": NaN}', 6, /a value is due, found NaN/],
  ['{"a": 01}', 6, /a value is due, found 01/],
  ['{"a": "x\ny"}', 8, /a line break stands in a text/],
  ['{"a": "x\\q"}', 8, /\\q is no escape/],
  ['{"a": "x', 6, /closing quote is missing/],
  ["{} {}", 3, /the end of the record is due/],
  ["", 0, /a value is due, found the end/],
];

for (const [text, offset, what] of FAULTS) {
  Deno.test(`${JSON.stringify(text)} is wrong at ${offset}`, () => {
    const fault = jsonFault(text)!;
    equal(fault.offset, offset);
    match(fault.what, what);
  });
}

Deno.test("a fault is found exactly where JSON.parse refuses", () => {
  const seeds = [
    '{"a": [1, -2.5e3, "x\\u00e9\\n"], "b": {"c": null, "d": true}}',
    "[[], {}, 0]",
    '"s"',
  ];
  for (const seed of seeds) {
    deepStrictEqual(jsonFault(seed), null);
    for (let i = 0; i < seed.length; i++) {
      for (const change of ["", "}", "]", ",", '"', "1", " ", "\\", "x", ":"]) {
        const text = seed.slice(0, i) + change + seed.slice(i + 1);
        let isJson = true;
        try {
          JSON.parse(text);
        } catch {
          isJson = false;
        }
        equal(jsonFault(text) === null, isJson, text);
      }
    }
  }
});
