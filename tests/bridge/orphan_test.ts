// However the Deno process ends, its Python process ends with it.
import { ok } from "node:assert/strict";
import { processes } from "../e2e/project.ts";
import { packages, python } from "./python.ts";

const parent = new URL("./fixtures/parent.ts", import.meta.url).pathname;

for (const signal of ["SIGKILL", "SIGTERM"] as const) {
  Deno.test(`no Python process is left after ${signal}`, async () => {
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "-q", parent, python, packages.real],
      stdout: "piped",
      stderr: "null",
    }).spawn();
    const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    const { value } = await reader.read();
    const pid = Number(value?.trim());
    ok(pid > 0 && alive(pid), "the Python process runs");
    child.kill(signal);
    await child.status;
    await reader.cancel();
    const deadline = Date.now() + 5000;
    while (alive(pid) && Date.now() < deadline) await new Promise((r) => setTimeout(r, 50));
    ok(!alive(pid), `Python process ${pid} is gone`);
  });
}

/** Whether a process runs; one that has ended and only waits to be reaped does not. */
function alive(pid: number): boolean {
  return processes().some((process) => process.pid === pid);
}
