/**
 * The folder of reference data beside the checkout (`../shared`, or `BULLION_SHARED`). Tests that read it
 * are skipped by name where it is absent.
 */
const checkout = new URL("..", import.meta.url);
const root = Deno.env.get("BULLION_SHARED") ?? new URL("../shared", checkout).pathname;

export const sharedPath = (path: string): string => `${root.replace(/\/$/, "")}/${path}`;

export const readShared = (path: string): Uint8Array<ArrayBuffer> =>
  Deno.readFileSync(sharedPath(path));

/** `Deno.test` that is ignored, and so still named, where `path` is not there. */
export function sharedTest(name: string, path: string, body: () => void | Promise<void>): void {
  let present = true;
  try {
    Deno.statSync(sharedPath(path));
  } catch {
    present = false;
  }
  Deno.test({ name, ignore: !present, fn: body });
}
