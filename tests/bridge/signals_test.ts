// A terminal's Ctrl-C reaches every process of the group; Python leaves the ending to the service.
import { equal } from "node:assert/strict";
import { WorkerClient } from "../../bridge/client.ts";
import { packages, settings } from "./python.ts";

Deno.test("a trainer goes on working after the signals of a terminal", async () => {
  const opening = { role: "trainer" as const, threads: 1 };
  const client = await WorkerClient.open(opening, settings(packages.real));
  await client.ready();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) Deno.kill(client.pid!, signal);
  const done = Promise.withResolvers<string>();
  await client.submit({ type: "probe", id: "p" }, (event) => done.resolve(event.type));
  equal(await done.promise, "finished");
  client.kill();
  await client.ended;
});
