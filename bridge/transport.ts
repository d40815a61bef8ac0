/**
 * pythonia's bridge over a Node IPC channel of ours: the only file that names pythonia.
 *
 * pythonia's own index starts a transport that needs a private Node symbol, so only its Bridge class
 * is used, on a transport with the five members it calls. Its error formatter needs sources that Deno
 * does not have; an error message is therefore turned into an answer before pythonia sees it.
 * Owns the wire, not the process: bridge/process.ts spawns and ends it.
 */
import type { ChildProcess } from "node:child_process";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

/** The script that pythonia runs in the interpreter. */
export const INTERFACE_SCRIPT: string = require.resolve("pythonia/src/pythonia/interface.py");

type Reply = { r?: number; c?: string; key?: string; val?: unknown; sig?: unknown };
type Handler = (reply: Reply) => unknown;

/** The members that pythonia's Bridge expects of what carries its messages. */
class IpcTransport {
  readonly #handlers = new Map<number | string, Handler>();
  readonly #child: ChildProcess;
  readonly #onTraceback: (traceback: string) => void;

  constructor(child: ChildProcess, onTraceback: (traceback: string) => void) {
    this.#child = child;
    this.#onTraceback = onTraceback;
    child.on("message", (message) => this.#receive(message as Reply));
  }

  start(): void {}
  end(): void {}

  register(id: number | string, handler: Handler): void {
    this.#handlers.set(id, handler);
  }

  write(message: { r: number }, handler?: Handler): void {
    if (handler) this.register(message.r, handler);
    this.#send(message);
  }

  writeRaw(json: string, id: number, handler: Handler): void {
    this.register(id, handler);
    this.#send(JSON.parse(json));
  }

  #send(message: object): void {
    if (this.#child.connected) this.#child.send(message);
  }

  #receive(reply: Reply): void {
    if (reply === null || typeof reply !== "object") return;
    const id = reply.c !== undefined && this.#handlers.has(reply.c) ? reply.c : reply.r;
    const handler = id === undefined ? undefined : this.#handlers.get(id);
    if (handler === undefined || id === undefined) return;
    const keep = handler(reply.key === "error" ? this.#asAnswer(reply) : reply);
    if (!keep && typeof id === "number") this.#handlers.delete(id);
  }

  #asAnswer(reply: Reply): Reply {
    const traceback = Array.isArray(reply.sig) ? reply.sig.join("") : String(reply.sig ?? "");
    this.#onTraceback(traceback);
    const line = traceback.trim().split("\n").at(-1) ?? "unknown Python error";
    const code = /ModuleNotFoundError|ImportError/.test(line)
      ? "python_module_missing"
      : "python_exception";
    const error = { code, message: `Python raised ${line}`, param: null };
    return { ...reply, key: "string", val: JSON.stringify({ error }) };
  }
}

interface PyObject {
  // deno-lint-ignore no-explicit-any
  [member: string]: (...args: any[]) => Promise<unknown>;
}
interface PyBridge {
  makePyObject(id: number): PyObject;
  end(): void;
}

/** A Python module whose functions take and return JSON strings. */
export interface Facade {
  /** Calls `method` with strings; the answer is whatever string Python returned. */
  call(method: string, ...args: string[]): Promise<string>;
  /** Stops pythonia's own timer; the process is not touched. */
  close(): void;
}

/**
 * Imports `module` in the interpreter behind `child`. If that fails, every call answers with the
 * error that the import gave, as JSON `{"error": …}`.
 */
export async function openFacade(
  child: ChildProcess,
  module: string,
  onTraceback: (traceback: string) => void,
): Promise<Facade> {
  const { Bridge } = require("pythonia/src/pythonia/Bridge.js");
  const bridge: PyBridge = new Bridge(new IpcTransport(child, onTraceback));
  const imported = await bridge.makePyObject(0).python!(module) as PyObject | string;
  return {
    call: async (method, ...args) =>
      typeof imported === "string" ? imported : String(await imported[method]!(...args)),
    close: () => bridge.end(),
  };
}
