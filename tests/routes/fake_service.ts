/**
 * The app over a Service of which a test supplies only the calls it expects; any other fails by name.
 */
import type { Service } from "../../core/service.ts";
import { Metrics } from "../../core/metrics/metrics.ts";
import { type AppSettings, buildApp } from "../../routes/app.ts";
import type { App } from "../../routes/router.ts";

type Room = "files" | "datasets" | "documents" | "jobs" | "models" | "chat";
type Rooms = { [R in Room]?: Partial<Service[R]> } & { health?: Service["health"] };

export function fakeService(rooms: Rooms = {}): Service {
  const unexpected = (name: string) => () => {
    throw new Error(`no test expected a call of ${name}`);
  };
  const room = <R extends Room>(name: R) =>
    new Proxy(rooms[name] ?? {}, {
      get: (given, call) => Reflect.get(given, call) ?? unexpected(`${name}.${String(call)}`),
    }) as Service[R];
  return {
    files: room("files"),
    datasets: room("datasets"),
    documents: room("documents"),
    jobs: room("jobs"),
    models: room("models"),
    chat: room("chat"),
    metrics: new Metrics(),
    folderKey: "folder-key",
    health: rooms.health ?? unexpected("health"),
    announce: unexpected("announce"),
    close: unexpected("close"),
  };
}

export function appOver(rooms: Rooms, settings: Partial<AppSettings> = {}): App {
  const silent = {
    apiKeys: [],
    corsOrigins: [],
    uploadBytes: 1_000_000,
    bodyBytes: 10_000,
    log: () => {},
  };
  return buildApp(fakeService(rooms), { ...silent, ...settings });
}

export function post(body: unknown, headers: Record<string, string> = {}): RequestInit {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return {
    method: "POST",
    body: text,
    headers: { "Content-Type": "application/json", ...headers },
  };
}

/** The `error` of a refusal. */
export async function errorOf(response: Response): Promise<Record<string, unknown>> {
  return (await response.json()).error;
}
