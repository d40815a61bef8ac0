// Names from clients never lead out of the data folder.
import { equal, throws } from "node:assert/strict";
import { join } from "node:path";
import { inside, insideForWriting } from "../../../core/store/paths.ts";
import { temporaryFolder } from "../folder.ts";

const outside = { code: "path_outside_data_folder" };

for (const name of ["../x", "a/../../x", "/etc/passwd", "", "C:\\x", "a\0b", "..", "a/.."]) {
  Deno.test(`the name ${JSON.stringify(name)} is refused`, () => {
    using folder = temporaryFolder();
    throws(() => inside(folder.path, name), outside);
  });
}

Deno.test("an ordinary name is a path below the folder, whether it is there or not", () => {
  using folder = temporaryFolder();
  equal(
    inside(folder.path, "saves/llama3-8b/lora/sft"),
    join(folder.path, "saves/llama3-8b/lora/sft"),
  );
});

Deno.test("a symbolic link that leads out is refused, also on the way", () => {
  using folder = temporaryFolder();
  using other = temporaryFolder();
  Deno.symlinkSync(other.path, join(folder.path, "out"));
  throws(() => inside(folder.path, "out"), outside);
  throws(() => inside(folder.path, "out/deeper"), outside);
});

Deno.test("a dangling link that would lead out is refused", () => {
  using folder = temporaryFolder();
  Deno.symlinkSync("../not-yet-there", join(folder.path, "later"));
  throws(() => inside(folder.path, "later"), outside);
});

Deno.test("a link in a circle is refused", () => {
  using folder = temporaryFolder();
  Deno.symlinkSync("circle", join(folder.path, "circle"));
  throws(() => inside(folder.path, "circle"), outside);
});

Deno.test("a link that stays inside is followed", () => {
  using folder = temporaryFolder();
  Deno.mkdirSync(join(folder.path, "jobs"));
  Deno.symlinkSync("jobs", join(folder.path, "output"));
  equal(inside(folder.path, "output"), join(folder.path, "output"));
});

for (const name of ["jobs/x", "blobs", "bullion.db", "lock", "."]) {
  Deno.test(`nothing is published as ${name}, which the service keeps for itself`, () => {
    using folder = temporaryFolder();
    throws(() => insideForWriting(folder.path, name), { code: "output_name_reserved" });
  });
}
