/**
 * A job's life as a pure fold over its events: status, times, attempts, result.
 *
 * The one place that knows which status may follow which. Nothing here reads a clock or a store.
 *
 *   validating_files → queued → running → succeeded | failed | cancelled
 *   running → interrupted → queued, running → paused → queued; what has not ended can be cancelled
 *   failed → queued, if only its process died
 */
import type { ErrorDetail } from "../../contract/errors.ts";
import type { JobEvent, JobEventBody, JobStatus } from "../../contract/job.ts";

export interface JobState {
  status: JobStatus;
  finished_at: number | null; // Unix seconds
  attempts: number; // processes started for it
  /** What was asked of the running process and has not happened yet. */
  stopping: "cancel" | "pause" | null;
  /** From which step it last went on after its process had died by itself; null: none has yet. */
  restart_step: number | null;
  progress: Extract<JobEventBody, { type: "progress" }> | null;
  finishing_at: number | null; // Unix seconds, as this attempt's newest progress foresees it
  model: string | null; // id of the model that came of it
  result: Record<string, unknown> | null;
  result_files: string[]; // ids of files
  error: ErrorDetail | null;
}

type EventType = JobEventBody["type"];

/** From which statuses an event that moves the status may come. */
const MAY_FOLLOW: Partial<Record<EventType, readonly JobStatus[]>> = {
  created: [],
  queued: ["validating_files", "interrupted"], // and where a user may have it go on
  started: ["queued"],
  paused: ["running", "queued"],
  interrupted: ["running"],
  succeeded: ["running"],
  failed: ["validating_files", "queued", "running", "interrupted"],
  cancelled: ["validating_files", "queued", "running", "paused", "interrupted"],
};

export const NEW: JobState = {
  status: "validating_files",
  finished_at: null,
  attempts: 0,
  stopping: null,
  restart_step: null,
  progress: null,
  finishing_at: null,
  model: null,
  result: null,
  result_files: [],
  error: null,
};

export function hasEnded(status: JobStatus): boolean {
  return status === "succeeded" || status === "failed" || status === "cancelled";
}

/** Whether a user may have it go on: it was paused, or failed by nothing but its process' death. */
export function mayGoOn({ status, error }: JobState): boolean {
  return status === "paused" || (status === "failed" && error?.code === "python_died");
}

/** Whether an event may be appended to a job in this state. Telling events may until the end. */
export function mayFollow(state: JobState, type: EventType): boolean {
  if (type === "queued" && mayGoOn(state)) return true;
  const statuses = MAY_FOLLOW[type];
  return statuses ? statuses.includes(state.status) : !hasEnded(state.status);
}

/** The state after an event. An event that may not follow changes nothing. */
export function next(state: JobState, event: Pick<JobEvent, "body" | "created_at">): JobState {
  const { body, created_at } = event;
  if (!mayFollow(state, body.type)) return state;
  const ended = { ...state, stopping: null, finished_at: created_at, finishing_at: null };
  switch (body.type) {
    case "queued":
      return state.status === "failed"
        ? { ...state, status: "queued", finished_at: null, error: null, restart_step: null }
        : { ...state, status: "queued", stopping: null };
    case "started":
      return { ...state, status: "running", stopping: null, attempts: body.attempt };
    case "paused":
      return { ...state, status: "paused", stopping: null, finishing_at: null };
    case "interrupted":
      return {
        ...state,
        status: "interrupted",
        stopping: null,
        finishing_at: null,
        restart_step: body.restart_step ?? state.restart_step,
      };
    case "stop_requested":
      return { ...state, stopping: state.stopping === "cancel" ? "cancel" : body.how };
    case "progress":
      return { ...state, progress: body, finishing_at: created_at + body.seconds_left };
    case "succeeded":
      return {
        ...ended,
        status: "succeeded",
        model: body.model,
        result: body.result,
        result_files: body.result_files ?? [],
      };
    case "failed":
      return { ...ended, status: "failed", error: body.error };
    case "cancelled":
      return { ...ended, status: "cancelled" };
    default:
      return state;
  }
}

export function fold(events: Iterable<Pick<JobEvent, "body" | "created_at">>): JobState {
  let state = NEW;
  for (const event of events) state = next(state, event);
  return state;
}
