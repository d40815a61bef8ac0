/**
 * The trainer's door: one fresh interpreter for each piece of work.
 *
 * A process that ends, whether by itself, by a kill or by a crash, gives all its memory back and
 * hurts nobody else. Owns no queue and no job rules.
 */
import { asBullionError } from "../contract/errors.ts";
import type { WorkerEvent } from "../contract/worker.ts";
import { Channel } from "./channel.ts";
import { isLast, type PumpPace, WorkerClient } from "./client.ts";
import type { RunningWork, TrainerDoor, TrainerWork } from "./doors.ts";
import type { ProcessSettings } from "./process.ts";

export class Trainer implements TrainerDoor {
  readonly #settings: ProcessSettings;
  readonly #pace: PumpPace;
  readonly #threads: number | null;

  constructor(
    settings: ProcessSettings,
    pace: PumpPace = { busyMs: 20, idleMs: 100 },
    threads: number | null = null,
  ) {
    this.#settings = settings;
    this.#pace = pace;
    this.#threads = threads;
  }

  start(work: TrainerWork): RunningWork {
    const events = new Channel<WorkerEvent>();
    const opening = WorkerClient.open(
      { role: "trainer", threads: this.#threads },
      this.#settings,
      this.#pace,
    );
    let killed = false;
    const run = async () => {
      const client = await opening;
      if (killed) client.kill();
      await client.ready();
      const { promise, resolve } = Promise.withResolvers<void>();
      await client.submit(work, (event) => {
        events.push(event);
        if (isLast(event)) resolve();
      });
      await promise;
      client.kill();
    };
    run()
      .catch((error) =>
        events.push({ type: "failed", id: work.id, error: asBullionError(error).detail })
      )
      .finally(() => events.close());
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
}
