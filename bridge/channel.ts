/** Turns pushed values into an async iterable with one reader; what is pushed before is kept. */
export class Channel<T> implements AsyncIterable<T> {
  readonly #kept: T[] = [];
  #wake: (() => void) | null = null;
  #closed = false;

  push(value: T): void {
    this.#kept.push(value);
    this.#wake?.();
  }

  close(): void {
    this.#closed = true;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    while (true) {
      while (this.#kept.length > 0) yield this.#kept.shift()!;
      if (this.#closed) return;
      await new Promise<void>((resolve) => this.#wake = resolve);
      this.#wake = null;
    }
  }
}
