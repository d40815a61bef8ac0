import assert from "node:assert/strict";
import { openHere, urlHere } from "../../commands/listening.ts";
import { loadServerConfig } from "../../core/config/server.ts";
import { readHolder } from "../../core/store/lock.ts";
import { temporaryFolder } from "../core/folder.ts";

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

Deno.test("a command that holds the data folder says which one it is", async () => {
  using folder = temporaryFolder();
  const config = loadServerConfig({ flags: { data_dir: folder.path } });
  const service = await openHere(config, "python-that-nothing-asks-for", "train");
  const { command, pid, address } = readHolder(folder.path)!;
  assert.deepEqual([command, pid, address], ["train", Deno.pid, null]);
  await service.close();
});
