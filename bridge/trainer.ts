/**
 * The trainer's door: one fresh interpreter for each piece of work.
 *
 * A process that ends, whether by itself, by a kill or by a crash, gives all its memory back and
 * hurts nobody else. With `keepSpare` the next interpreter is started before it is needed: reading
 * the libraries takes seconds, which nobody has to wait for. Owns no queue and no job rules.
 */
import { asBullionError } from "../contract/errors.ts";
import type { WorkerEvent } from "../contract/worker.ts";
import { Channel } from "./channel.ts";
import { isLast, WorkerClient } from "./client.ts";
import type { RunningWork, TrainerDoor, TrainerWork } from "./doors.ts";
import type { ProcessSettings } from "./process.ts";

export interface TrainerSettings {
  threads?: number | null;
  keepSpare?: boolean;
}

export class Trainer implements TrainerDoor {
  readonly #settings: ProcessSettings;
  readonly #threads: number | null;
  readonly #keepSpare: boolean;
  #spare: Promise<WorkerClient> | null = null;
  #closed = false;

  constructor(
    settings: ProcessSettings,
    { threads = null, keepSpare = false }: TrainerSettings = {},
  ) {
    this.#settings = settings;
    this.#threads = threads;
    this.#keepSpare = keepSpare;
    this.#refill();
  }

  start(work: TrainerWork): RunningWork {
    const events = new Channel<WorkerEvent>();
    const opening = this.#take();
    let killed = false;
    const run = async () => {
      const client = await opening;
      if (killed) client.kill();
      const { promise, resolve } = Promise.withResolvers<void>();
      await client.submit(work, (event) => {
        events.push(event);
        if (event.type === "progress") this.#refill(); // it is at its steps: time for the next one
        if (isLast(event)) resolve();
      });
      await promise;
      client.kill();
    };
    run()
      .catch((error) =>
        events.push({ type: "failed", id: work.id, error: asBullionError(error).detail })
      )
      .finally(() => {
        events.close();
        this.#refill();
      });
    return {
      events,
      stop: async (how) => {
        const client = await opening.catch(() => null);
        await client?.cancel({ id: work.id, how });
      },
      kill: () => {
        killed = true;
        opening.then((client) => client.kill(), () => {});
      },
    };
  }

  close(): void {
    this.#closed = true;
    this.#spare?.then((client) => client.kill(), () => {});
    this.#spare = null;
  }

  /** The spare interpreter if there is a living one, otherwise a new one. */
  async #take(): Promise<WorkerClient> {
    const spare = this.#spare;
    this.#spare = null;
    const client = await spare?.catch(() => null);
    return client && !client.isOver ? client : await this.#open();
  }

  #refill(): void {
    if (!this.#keepSpare || this.#closed || this.#spare) return;
    this.#spare = this.#open();
    // A spare that cannot start is no failure of anybody's: the next work tries again and tells.
    this.#spare.catch(() => {});
  }

  async #open(): Promise<WorkerClient> {
    const opening = { role: "trainer" as const, threads: this.#threads };
    const client = await WorkerClient.open(opening, this.#settings);
    try {
      await client.ready();
      return client;
    } catch (error) {
      client.kill();
      throw error;
    }
  }
}
