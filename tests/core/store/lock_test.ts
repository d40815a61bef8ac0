// A data folder has one holder, and a dead holder is none.
import { equal, notEqual, throws } from "node:assert/strict";
import { readHolder } from "../../../core/store/lock.ts";
import { Store } from "../../../core/store/store.ts";
import { temporaryFolder } from "../folder.ts";

Deno.test("a second opening is refused and names the holder's address", () => {
  using folder = temporaryFolder();
  const holder = Store.open(folder.path, null);
  holder.announce("http://127.0.0.1:8321");
  throws(() => Store.open(folder.path, null), {
    code: "data_folder_in_use",
    param: "http://127.0.0.1:8321",
    message: /as process \d+, which listens on http:.*: ask that service, stop it, or choose/,
  });
  holder.close();
});

Deno.test("a second opening beside a command is told which one, and to wait", () => {
  using folder = temporaryFolder();
  for (
    const [command, who] of [["train", `${Deno.pid}, which runs \`deno task train\`,`], [
      null,
      Deno.pid,
    ]]
  ) {
    const holder = Store.open(folder.path, command as string | null);
    throws(() => Store.open(folder.path, "train"), {
      code: "data_folder_in_use",
      param: null,
      message: `Cannot use the data folder ${Deno.realPathSync(folder.path)} as process ${who} ` +
        "holds it: wait until it has ended, end it, or choose another folder with --data",
    });
    holder.close();
  }
});

Deno.test("every holder has a key of its own, which nobody but the owner can read", () => {
  using folder = temporaryFolder();
  const place = `${folder.path}/holder.json`;
  const keys = Array.from({ length: 2 }, () => {
    Deno.writeTextFileSync(`${place}.new`, "", { mode: 0o644 }); // a crash may leave one
    const holder = Store.open(folder.path, null);
    equal(Deno.statSync(place).mode! & 0o777, 0o600);
    equal(readHolder(folder.path)?.key, holder.key);
    holder.close();
    return holder.key;
  });
  notEqual(keys[0], keys[1]);
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
