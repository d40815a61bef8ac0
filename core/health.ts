/** How the service is, for whoever watches it. */
import type { EngineStatus } from "../bridge/doors.ts";

export interface Health {
  ready: boolean;
  store: "ok" | "closed";
  engine: EngineStatus;
  /** Why chat is refused at the moment, null when it is not. */
  chat_suspended: string | null;
  jobs: { running: string | null; queued: number };
}
