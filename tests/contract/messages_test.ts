// Both languages read the same example messages; this is the TypeScript half.
import { deepStrictEqual, ok } from "node:assert/strict";
import type { z } from "zod";
import { Cancellation, Opening, Submission, WorkerEvent } from "../../contract/worker.ts";

const golden = JSON.parse(
  await Deno.readTextFile(new URL("../golden/worker/messages.json", import.meta.url)),
);

const kinds: Record<string, z.ZodType> = {
  openings: Opening,
  submissions: Submission,
  cancellations: Cancellation,
  events: WorkerEvent,
};

for (const [group, schema] of Object.entries(kinds)) {
  Deno.test(`every example of ${group} is read and written back unchanged`, () => {
    ok(golden[group].length > 0);
    for (const example of golden[group]) deepStrictEqual(schema.parse(example), example);
  });
}

for (const { why, message } of golden.refused_submissions) {
  Deno.test(`a submission with ${why} is refused`, () => {
    ok(!Submission.safeParse(message).success);
  });
}
