/** Lines on standard error: plain for who types a command, with their time and level in a service. */
import type { LogLevel } from "../bridge/process.ts";
import type { ServerConfig } from "../core/config/server.ts";

type Level = ServerConfig["log_level"];

/** Writes text of `level`, info where none is given, if that level is asked for. */
export type Log = (text: string, level?: LogLevel) => void;

const LEVELS: readonly Level[] = ["debug", "info", "warn", "error"];

/** `config.log_level` is the least that is written. */
export function plainLog({ log_level }: Pick<ServerConfig, "log_level">): Log {
  return (text, level = "info") => {
    if (LEVELS.indexOf(level) >= LEVELS.indexOf(log_level)) console.error(text);
  };
}

/** As `plainLog`, each line with its time in UTC and its level before it. */
export function stampedLog(config: Pick<ServerConfig, "log_level">): Log {
  const log = plainLog(config);
  return (text, level = "info") => log(stamped(text, level), level);
}

/** `2026-11-26T12:00:00Z info text`, and so every line of a text of several. */
export function stamped(text: string, level: LogLevel, now = new Date()): string {
  const time = now.toISOString().replace(/\.\d+/, "");
  return text.split("\n").map((line) => `${time} ${level} ${line}`).join("\n");
}
