/** Signals that end a command in an orderly way. A second one ends it at once. */

const ENDING: readonly Deno.Signal[] = ["SIGINT", "SIGTERM", "SIGHUP"];

/** Resolves at the first ending signal. */
export function untilSignal(): Promise<void> {
  return new Promise((resolve) => onSignal(resolve));
}

/** Calls `act` at the first ending signal; returns how to stop listening. */
export function onSignal(act: () => void): () => void {
  let seen = false;
  const listener = () => {
    if (seen) Deno.exit(130);
    seen = true;
    act();
  };
  ENDING.forEach((signal) => Deno.addSignalListener(signal, listener));
  return () => ENDING.forEach((signal) => Deno.removeSignalListener(signal, listener));
}
