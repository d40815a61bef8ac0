/**
 * Who has the device: the engine, or a job.
 *
 * On the CPU both run side by side. On CUDA a job has it to itself unless the operator shares it, as
 * what a training needs is not known before it is planned; chat is refused meanwhile.
 */
import type { EngineDoor } from "../../bridge/doors.ts";
import type { Device } from "./runner.ts";

export interface EngineRoom {
  suspend(reason: string, drainMs: number): Promise<void>;
  resume(): void;
}

/** How long answers that are being written may take when a job wants the device. */
const DRAIN_MS = 30_000;

export class SharedDevice implements Device {
  readonly #rule: "auto" | "exclusive" | "shared";
  readonly #engine: EngineDoor;
  readonly #room: EngineRoom;
  #isCuda: boolean | null = null; // null: no process has said yet
  #holder: string | null = null; // the job that runs

  constructor(rule: "auto" | "exclusive" | "shared", engine: EngineDoor, room: EngineRoom) {
    this.#rule = rule;
    this.#engine = engine;
    this.#room = room;
  }

  async take(jobId: string): Promise<() => void> {
    this.#holder = jobId;
    if (await this.#needsRoom()) await this.#empty(jobId);
    return () => {
      this.#holder = null;
      this.#room.resume();
    };
  }

  /** The first trainer process tells what the machine is; until then nobody may have known. */
  seen(machine: Record<string, unknown>): void {
    const wasKnown = this.#isCuda !== null;
    this.#isCuda = machine.device === "cuda";
    if (this.#rule === "auto" && this.#isCuda && !wasKnown && this.#holder !== null) {
      this.#empty(this.#holder).catch(() => {});
    }
  }

  async #needsRoom(): Promise<boolean> {
    if (this.#rule !== "auto") return this.#rule === "exclusive";
    this.#isCuda ??= await this.#engineIsOnCuda();
    return this.#isCuda ?? false;
  }

  #empty(jobId: string): Promise<void> {
    return this.#room.suspend(`job ${jobId} has the GPU to itself`, DRAIN_MS);
  }

  async #engineIsOnCuda(): Promise<boolean | null> {
    const { engine } = await this.#engine.status();
    return typeof engine?.device === "string" ? engine.device.startsWith("cuda") : null;
  }
}
