/** What a service writes to standard error says when, and how bad it is. */
import assert from "node:assert/strict";
import { plainLog, stamped, stampedLog } from "../../commands/log.ts";

function written(act: () => void): string[] {
  const lines: string[] = [];
  const usual = console.error;
  console.error = (line) => lines.push(line);
  try {
    act();
  } finally {
    console.error = usual;
  }
  return lines;
}

Deno.test("every line of a text has the time and the level before it", () => {
  const time = new Date("2026-11-26T12:00:00.123Z");
  assert.equal(
    stamped("engine: up again\nand more", "info", time),
    "2026-11-26T12:00:00Z info engine: up again\n2026-11-26T12:00:00Z info and more",
  );
});

Deno.test("lines below the level that is asked for are left out", () => {
  for (const log of [plainLog({ log_level: "warn" }), stampedLog({ log_level: "warn" })]) {
    const lines = written(() => (log("a"), log("b", "info"), log("c", "warn"), log("d", "error")));
    assert.deepEqual(lines.map((line) => line.at(-1)), ["c", "d"]);
  }
});

Deno.test("a service stamps its lines, a command does not", () => {
  const [plain, line] = written(() =>
    [plainLog, stampedLog].forEach((kind) => kind({ log_level: "info" })("text"))
  );
  assert.equal(plain, "text");
  assert.match(line!, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ info text$/);
});
