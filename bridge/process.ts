/**
 * One Python process: spawned, spoken to in JSON, and known to be dead when it is.
 *
 * Owns the child's life and its standard error. Every call ends: with an answer, with a typed error
 * of Python's, with `python_timeout`, or with `python_died`. Knows no roles and no jobs.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { z } from "zod";
import { BullionError } from "../contract/errors.ts";
import { Answer } from "../contract/worker.ts";
import { type Facade, INTERFACE_SCRIPT, openFacade } from "./transport.ts";

export interface ProcessSettings {
  python: string; // interpreter
  packagePath: string; // folder that holds the package `bullion`
  env: Record<string, string>;
  callTimeoutMs: number; // one answer
  startTimeoutMs: number; // from spawning to libraries loaded
  heartbeatMs: number; // longest time between two questions to a process that is at work
  /** A line of the child's output, or of its keeper's, for the log; info unless its level is given. */
  log(line: string, level?: LogLevel): void;
}

export type LogLevel = "info" | "warn" | "error";

export interface Exit {
  code: number | null;
  signal: string | null;
  /** The last lines it wrote. */
  tail: string[];
  /** What it wrote as it died; a line of long before tells nothing of the death. */
  lastWords: string | null;
}

/** The place in `stdio` of a pipe that carries no words: a byte means that there are events. */
const BELL = 4;
const TAIL_LINES = 40;
const LAST_WORDS_MS = 300;
const FRESH_MS = 1000;

export class PythonProcess {
  readonly #child: ChildProcess;
  readonly #settings: ProcessSettings;
  readonly #tail: string[] = [];
  readonly #died: Promise<Exit>;
  /** Those who wait for an answer that a dead process will not give. */
  readonly #waiting = new Set<() => void>();
  #facade: Facade | null = null;
  #exit: Exit | null = null;
  #notedAt = -Infinity;

  private constructor(child: ChildProcess, settings: ProcessSettings) {
    this.#child = child;
    this.#settings = settings;
    const { promise, resolve } = Promise.withResolvers<Exit>();
    this.#died = promise;
    const end = (code: number | null, signal: string | null) => {
      const fresh = performance.now() - this.#notedAt < LAST_WORDS_MS + FRESH_MS;
      const line = this.#tail.filter((line) => line.trim() !== "").at(-1) ?? null;
      this.#exit ??= { code, signal, tail: [...this.#tail], lastWords: fresh ? line : null };
      this.#facade?.close();
      resolve(this.#exit);
      for (const leave of [...this.#waiting]) leave();
    };
    child.on("error", (error) => {
      this.#note(String(error));
      end(null, null);
    });
    // The last words arrive a little after the exit; a grandchild that keeps the pipes open must not
    // make anybody wait for them.
    child.on("exit", (code, signal) => setTimeout(() => end(code, signal), LAST_WORDS_MS));
    child.on("close", end);
    for (const stream of [child.stdout, child.stderr]) {
      let rest = "";
      stream?.setEncoding("utf8");
      stream?.on("data", (text: string) => {
        const lines = (rest + text).split("\n");
        rest = lines.pop() ?? "";
        lines.forEach((line) => this.#note(line));
      });
    }
  }

  /** Spawns the interpreter and imports `module`. */
  static async start(module: string, settings: ProcessSettings): Promise<PythonProcess> {
    let child: ChildProcess;
    try {
      child = spawn(settings.python, [INTERFACE_SCRIPT], {
        stdio: ["ignore", "pipe", "pipe", "ipc", "pipe"],
        env: {
          ...settings.env,
          PYTHONPATH: settings.packagePath,
          PYTHONUNBUFFERED: "1",
          PYTHONIOENCODING: "utf-8",
          PYTHONWARNINGS: "ignore::FutureWarning",
          BULLION_PARENT_PID: String(Deno.pid),
          BULLION_BELL_FD: String(BELL),
        },
      });
    } catch (cause) {
      throw cannotStart(settings.python, cause);
    }
    const process = new PythonProcess(child, settings);
    if (child.pid === undefined) {
      await process.#died;
      throw cannotStart(settings.python, process.#exit?.tail.join("\n"));
    }
    const opening = openFacade(child, module, (traceback) => settings.log(traceback));
    opening.catch(() => {});
    try {
      process.#facade = await process.within(opening, settings.startTimeoutMs, "its start");
      return process;
    } catch (error) {
      process.kill();
      throw error;
    }
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Resolves when the process has ended, for whatever reason. */
  get died(): Promise<Exit> {
    return this.#died;
  }

  /** Has `answer` called whenever Python has left events, those of the time before included. */
  onBell(answer: () => void): void {
    const bell = this.#child.stdio[BELL];
    bell?.on("data", answer);
    bell?.on("error", () => {}); // it ends with the process, which is told otherwise
  }

  /** Calls a function of the facade with one JSON value; returns its `ok`, checked by `schema`. */
  async call<T>(method: string, schema: z.ZodType<T>, argument?: unknown): Promise<T> {
    if (this.#exit !== null || this.#facade === null) throw this.deathOf(method);
    const args = argument === undefined ? [] : [JSON.stringify(argument)];
    const text = await this.within(
      this.#facade.call(method, ...args),
      this.#settings.callTimeoutMs,
      method,
    );
    const answer = Answer.safeParse(parseJson(text));
    if (!answer.success) throw malformed(method, text, answer.error);
    if ("error" in answer.data) throw BullionError.from(answer.data.error);
    const ok = schema.safeParse(answer.data.ok);
    if (!ok.success) throw malformed(method, text, ok.error);
    return ok.data;
  }

  /** Ends the process at once. Idempotent. */
  kill(): void {
    if (this.#exit === null) this.#child.kill("SIGKILL");
  }

  /** Waits for `work` until it is late or the process dead; then throws the typed error. */
  async within<T>(work: Promise<T>, ms: number, what: string): Promise<T> {
    work.catch(() => {}); // work left behind by a timeout must not be an unhandled rejection
    const { promise: lost, reject } = Promise.withResolvers<never>();
    const leave = () => reject(this.deathOf(what));
    const timer = setTimeout(
      () =>
        reject(new BullionError("python_timeout", `Python did not answer ${what} within ${ms} ms`)),
      ms,
    );
    // No reaction on #died itself: one for each of a million calls would stay as long as the process.
    if (this.#exit === null) this.#waiting.add(leave);
    else leave();
    try {
      return await Promise.race([work, lost]);
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(leave);
    }
  }

  /** The typed error for work that this process can no longer do. */
  deathOf(doing: string): BullionError {
    const exit = this.#exit;
    const how = exit?.signal ? `by ${exit.signal}` : `with exit code ${exit?.code ?? "unknown"}`;
    const last = exit?.lastWords;
    return new BullionError(
      "python_died",
      `The Python process ended ${how} (${doing})${last ? `: ${last}` : ""}`,
      { cause: exit?.tail.join("\n") },
    );
  }

  #note(line: string): void {
    this.#notedAt = performance.now();
    this.#tail.push(line);
    if (this.#tail.length > TAIL_LINES) this.#tail.shift();
    this.#settings.log(line);
  }
}

function cannotStart(python: string, cause: unknown): BullionError {
  return new BullionError(
    "python_missing",
    `Cannot start Python as ${python} does not run. Run \`deno task setup\`, or set ` +
      `BULLION_PYTHON to an interpreter that has torch.`,
    { cause },
  );
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function malformed(method: string, text: string, cause: unknown): BullionError {
  return new BullionError(
    "malformed_answer",
    `Python answered ${method} with something unexpected: ${text.slice(0, 200)}`,
    { cause },
  );
}
