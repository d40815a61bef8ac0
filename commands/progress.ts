/** A job's events in a terminal: a bar that moves where there is one, plain lines elsewhere. */
import type { JobEventObject } from "../contract/job.ts";

const BAR = 24;

export interface Screen {
  line(text: string): void;
  /** A line that the next one replaces. */
  status(text: string): void;
}

/** Standard error, so that standard output stays for results. */
export function terminalScreen(): Screen {
  const tty = Deno.stderr.isTerminal();
  const write = (text: string) => Deno.stderr.writeSync(new TextEncoder().encode(text));
  let open = false;
  let shown = 0;
  return {
    line(text) {
      write(`${open ? "\r\x1b[2K" : ""}${text}\n`);
      open = false;
    },
    status(text) {
      if (tty) {
        write(`\r\x1b[2K${text.slice(0, consoleWidth() - 1)}`);
        open = true;
      } else if (performance.now() - shown > 5000) {
        write(`${text}\n`);
        shown = performance.now();
      }
    },
  };
}

/** Shows events until they end. */
export async function follow(
  events: AsyncIterable<JobEventObject>,
  screen: Screen,
): Promise<void> {
  for await (const { data: body, message, level } of events) {
    if (body.type === "progress") screen.status(progressLine(body));
    else if (body.type === "checkpoint") screen.line(`  checkpoint at step ${body.step}`);
    else if (body.type === "evaluated") {
      screen.line(`  evaluation at step ${body.step}: loss ${body.eval_loss.toFixed(4)}`);
    } else if (body.type !== "created" && body.type !== "checkpoint_removed") {
      screen.line(`  ${level === "info" ? "" : `${level}: `}${message}`);
    }
  }
}

type Progress = Extract<JobEventObject["data"], { type: "progress" }>;

export function progressLine(progress: Progress): string {
  const share = progress.total_steps === 0 ? 1 : progress.step / progress.total_steps;
  const full = Math.round(share * BAR);
  return [
    `  ${"█".repeat(full)}${"░".repeat(BAR - full)}`,
    `${progress.step}/${progress.total_steps}`,
    `loss ${progress.loss.toFixed(4)}`,
    `lr ${progress.learning_rate.toExponential(1)}`,
    `${Math.round(progress.tokens_per_second)} tokens/s`,
    `${duration(progress.seconds_left)} left`,
  ].join("  ");
}

export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  if (hours > 0) return `${hours} h ${minutes} min`;
  return minutes > 0 ? `${minutes} min ${whole % 60} s` : `${whole} s`;
}

function consoleWidth(): number {
  try {
    return Deno.consoleSize().columns;
  } catch {
    return 100;
  }
}
