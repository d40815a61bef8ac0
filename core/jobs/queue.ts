/**
 * One queue: the oldest job that waits runs next, one at a time, until the service ends.
 *
 * The queue holds no list of its own; which jobs wait is folded from their events, so that it is the
 * same after a restart.
 */
import type { Store } from "../store/store.ts";
import type { Ledger } from "./ledger.ts";
import type { Plan } from "./plan.ts";
import type { Runner } from "./runner.ts";

export class Queue {
  readonly #store: Store<Plan>;
  readonly #ledger: Ledger;
  readonly #runner: Runner;
  #running: Promise<void> | null = null;
  #closed = false;

  constructor(store: Store<Plan>, ledger: Ledger, runner: Runner) {
    this.#store = store;
    this.#ledger = ledger;
    this.#runner = runner;
  }

  /** Ids of the jobs that wait, the next one first. */
  waiting(): string[] {
    return this.#store.jobs.unfinished()
      .map(({ id }) => id)
      .filter((id) => id !== this.#runner.jobId && this.#ledger.state(id).status === "queued");
  }

  /** Looks for work. Call it whenever a job was queued. */
  wake(): void {
    if (this.#closed) return;
    this.#running ??= this.#work().finally(() => this.#running = null);
  }

  /** Ends after the job that runs has been put aside; nothing is started any more. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#runner.stop("close");
    await this.#running;
  }

  async #work(): Promise<void> {
    for (let id = this.waiting()[0]; id && !this.#closed; id = this.waiting()[0]) {
      await this.#runner.run(this.#store.jobs.get(id).plan);
    }
  }
}
