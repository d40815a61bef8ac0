/** An engine that dies, does not start or hangs comes back, or is said to be away, by itself. */
import { deepStrictEqual, equal, match, ok, rejects } from "node:assert/strict";
import type { EngineStatus } from "../../bridge/doors.ts";
import { Engine } from "../../bridge/engine.ts";
import type { Pauses } from "../../bridge/retries.ts";
import { BullionError } from "../../contract/errors.ts";
import { processes } from "../e2e/project.ts";
import { until } from "../e2e/service.ts";
import { OPENING, packages, settings } from "./python.ts";

const ENDED = new BullionError("ended", "The test has ended");
const SHORT: Pauses = { firstMs: 20, longestMs: 100 };
const NEVER: Pauses = { firstMs: 3_600_000, longestMs: 3_600_000 };
const PATIENCE_S = 30;

type Options = Parameters<typeof settings>[1] & { pauses?: Pauses };

/** An engine over the faulty package; `deaths` more of its processes die as they open. */
class Trial implements AsyncDisposable {
  readonly folder = Deno.makeTempDirSync({ prefix: "bullion-engine-" });
  readonly settings;
  readonly engine: Engine;

  constructor({ pauses = SHORT, env = {}, ...more }: Options = {}) {
    const usual = settings(packages.faulty, more);
    const deaths = { FAULTY_DEATHS: `${this.folder}/deaths` };
    this.settings = { ...usual, env: { ...usual.env, ...deaths, ...env } };
    this.engine = new Engine(this.settings, OPENING, pauses);
    this.deaths = 0;
  }

  static async loaded(options: Options = {}): Promise<Trial> {
    const trial = new Trial(options);
    await trial.load();
    return trial;
  }

  set deaths(number: number) {
    Deno.writeTextFileSync(`${this.folder}/deaths`, String(number));
  }

  load(name = "m"): Promise<unknown> {
    const path = `${this.folder}/${name}`;
    Deno.mkdirSync(path, { recursive: true });
    const base = { name, path, hub: null, trust_remote_code: false };
    return this.engine.load({ name, base, adapter: null });
  }

  /** Processes that were opened, oldest first. */
  get pids(): number[] {
    return this.settings.lines.map((line) => /^opened in process (\d+)/.exec(line)?.[1])
      .filter((pid) => pid !== undefined).map(Number);
  }

  get log(): string[] {
    return this.settings.lines.filter((line) => line.startsWith("engine: "));
  }

  kill(signal: Deno.Signal = "SIGKILL"): void {
    Deno.kill(this.pids.at(-1)!, signal);
  }

  async is(state: EngineStatus["state"]): Promise<void> {
    const late = () => `it does not become ${state}: ${this.settings.lines.join("\n")}`;
    await until(async () => (await this.engine.status()).state === state, PATIENCE_S, late);
  }

  async wasOpened(times: number): Promise<void> {
    const late = () => `it was not opened ${times} times: ${this.settings.lines.join("\n")}`;
    await until(() => this.pids.length >= times, PATIENCE_S, late);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.engine.stop(ENDED);
    Deno.removeSync(this.folder, { recursive: true });
  }
}

Deno.test("an engine that dies while it is started again is tried again until it is up", async () => {
  await using trial = await Trial.loaded();
  trial.deaths = 2;
  trial.kill();
  await trial.is("failed");
  await trial.is("ready");
  equal((await trial.engine.status()).restarts, 3);
  const told = trial.log.map((line) =>
    line.replace(/^engine: (cannot start: )?The .*;/, "$1it died;")
  );
  deepStrictEqual(told, [
    "engine: loaded m",
    "it died; trying again in 0.02 s",
    "engine: trying again (1)",
    "cannot start: it died; trying again in 0.04 s",
    "engine: trying again (2)",
    "cannot start: it died; trying again in 0.08 s",
    "engine: trying again (3)",
    "engine: up again",
  ]);
});

Deno.test("however often it dies young, it comes back without being asked", async () => {
  await using trial = await Trial.loaded();
  for (let deaths = 1; deaths <= 5; deaths++) {
    trial.kill();
    await trial.wasOpened(deaths + 1);
    await trial.is("ready");
  }
});

Deno.test("no pause is longer than the longest", async () => {
  await using trial = await Trial.loaded();
  trial.deaths = 4;
  trial.kill();
  await trial.is("ready");
  match(trial.log.at(-3)!, /trying again in 0\.1 s$/);
});

Deno.test("a first start that fails is tried again by itself, too", async () => {
  await using trial = new Trial();
  equal((await trial.engine.status()).state, "stopped");
  trial.deaths = 1;
  await rejects(trial.load(), { code: "python_died" });
  await trial.is("ready");
});

Deno.test("a stop ends the tries", async () => {
  await using trial = await Trial.loaded();
  trial.deaths = 1_000;
  trial.kill();
  await trial.wasOpened(3);
  await trial.engine.stop(ENDED);
  const opened = trial.pids.length;
  await new Promise((resolve) => setTimeout(resolve, 10 * SHORT.longestMs));
  equal(trial.pids.length, opened);
  equal((await trial.engine.status()).state, "stopped");
});

Deno.test("a stop ends a start that hangs, and who waits for it hears the reason", async () => {
  await using trial = new Trial({ env: { FAULTY_LIBRARIES: "hang" } });
  const refused = rejects(trial.load(), { code: ENDED.code });
  await trial.wasOpened(1);
  let isOver = false;
  trial.engine.stop(ENDED).then(() => isOver = true);
  await until(() => isOver, PATIENCE_S, "it waits for the start");
  await refused;
  equal((await trial.engine.status()).state, "stopped");
});

Deno.test("a request in a pause starts it at once, and requests that fail fill no log", async () => {
  await using trial = new Trial({ pauses: NEVER });
  trial.deaths = 3;
  for (let i = 0; i < 3; i++) await rejects(trial.load(), { code: "python_died" });
  await trial.load();
  equal((await trial.engine.status()).state, "ready");
  equal(trial.log.filter((line) => line.includes("trying again")).length, 1);
});

Deno.test("a start that fails leaves no process", async () => {
  await using trial = new Trial({ pauses: NEVER, env: { FAULTY_LIBRARIES: "missing" } });
  await rejects(trial.load(), { message: "no torch" });
  const [pid] = trial.pids;
  await until(() => !processes().some((each) => each.pid === pid), PATIENCE_S, "it lives");
});

Deno.test("a model that the next process refuses does not keep the engine down", async () => {
  await using trial = await Trial.loaded();
  await trial.load("gone");
  Deno.removeSync(`${trial.folder}/gone`);
  trial.kill();
  await trial.wasOpened(2);
  await trial.is("ready");
  ok(trial.log.includes("engine: goes on without gone: no such folder"), trial.log.join("\n"));
});

Deno.test("an engine that does not answer is silent to all who ask, and is asked once", async () => {
  await using trial = await Trial.loaded();
  trial.kill("SIGSTOP");
  const ask = () => trial.engine.status();
  const states = (await Promise.all([ask(), ask(), ask()])).map(({ state }) => state);
  deepStrictEqual([...states, (await ask()).state], ["silent", "silent", "silent", "silent"]);
  trial.kill("SIGCONT");
  let said: EngineStatus["engine"] = null;
  await until(async () => (said = (await ask()).engine) !== null, PATIENCE_S, "it stays silent");
  equal(said!.asked, 2); // the one question of all, and this one
  equal(trial.pids.length, 1); // nothing was ended before a call's whole time was over
});

Deno.test("an engine that hangs while nobody asks for anything is ended and started again", async () => {
  await using trial = await Trial.loaded({ heartbeatMs: 20, callTimeoutMs: 2_000 });
  trial.kill("SIGSTOP");
  await trial.wasOpened(2);
  match(trial.log.join("\n"), /Python did not answer status within 2000 ms/);
});
