// A data folder has one holder, and a dead holder is none.
import { equal, throws } from "node:assert/strict";
import { Store } from "../../../core/store/store.ts";
import { temporaryFolder } from "../folder.ts";

Deno.test("a second opening is refused and names the holder's address", () => {
  using folder = temporaryFolder();
  const holder = Store.open(folder.path, null);
  holder.announce("http://127.0.0.1:8321");
  throws(() => Store.open(folder.path, null), {
    code: "data_folder_in_use",
    param: "http://127.0.0.1:8321",
  });
  holder.close();
});

Deno.test("a folder that was given back can be opened again", () => {
  using folder = temporaryFolder();
  Store.open(folder.path, null).close();
  Store.open(folder.path, null).close();
});

Deno.test("a holder that was killed holds nothing", async () => {
  using folder = temporaryFolder();
  const source = new URL("../../../core/store/lock.ts", import.meta.url);
  const program = `import { FolderLock } from "${source}";
    new FolderLock(${JSON.stringify(folder.path)}, null);
    console.log("held");
    setInterval(() => {}, 1000);`;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["eval", program],
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  equal((await reader.read()).value?.trim(), "held");
  throws(() => Store.open(folder.path, null), { code: "data_folder_in_use" });
  child.kill("SIGKILL");
  await child.status;
  await reader.cancel();
  Store.open(folder.path, null).close();
});
