import assert from "node:assert/strict";
import { urlHere } from "../../commands/listening.ts";

Deno.test("commands reach a service by an address that they may ask", () => {
  const hosts = ["127.0.0.1", "0.0.0.0", "::", "::1", "192.0.2.7"];
  assert.deepEqual(hosts.map((host) => urlHere(host, 8321)), [
    "http://127.0.0.1:8321",
    "http://127.0.0.1:8321",
    "http://127.0.0.1:8321",
    "http://[::1]:8321",
    "http://192.0.2.7:8321",
  ]);
});
