/**
 * The service as its user starts it: `deno task serve` in a process of its own. Measures nothing.
 *
 * Its flags are those of the task in deno.json, its settings the defaults, except that no interpreter
 * is kept ready for a job that never comes.
 */
import { PROJECT } from "../../commands/project.ts";

const LAST_LINES = 30;

export interface RunningService {
  url: string;
  pid: number;
  started: number; // milliseconds since the epoch, before the process was there
  stop(): Promise<void>;
}

/** Starts it with one model, called `model`, on a free port. Resolves when it listens. */
export async function startService(folder: string, python: string): Promise<RunningService> {
  const data = await Deno.makeTempDir({ prefix: "bullion-bench-" });
  const models = `${data}/models.yaml`;
  await Deno.writeTextFile(models, JSON.stringify({ model: { path: folder } }));
  const { tasks } = JSON.parse(await Deno.readTextFile(`${PROJECT}/deno.json`));
  const [, ...flags] = (tasks.serve as string).split(" ");
  const started = Date.now();
  const child = new Deno.Command(Deno.execPath(), {
    args: [...flags, "--port", "0", "--data", `${data}/service`, "--models", models],
    env: { BULLION_PYTHON: python, BULLION_JOBS__KEEP_SPARE: "false" },
    cwd: PROJECT,
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const lines: string[] = [];
  const listening = Promise.withResolvers<string>();
  const reading = (async () => {
    let rest = "";
    for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
      const parts = (rest + text).split("\n");
      rest = parts.pop()!;
      for (const line of parts) {
        const address = line.match(/ Bullion listens on (\S+)/)?.[1];
        if (address) listening.resolve(address);
        lines.push(line);
        if (lines.length > LAST_LINES) lines.shift();
      }
    }
    listening.reject(new Error(`The service ended:\n${lines.join("\n")}`));
  })();
  listening.promise.catch(() => {}); // it also rejects when the service is stopped
  const stop = async () => {
    child.kill("SIGTERM");
    const forced = setTimeout(() => child.kill("SIGKILL"), 20_000);
    await child.status;
    clearTimeout(forced);
    await reading;
    await Deno.remove(data, { recursive: true });
  };
  return { url: await listening.promise, pid: child.pid, started, stop };
}
