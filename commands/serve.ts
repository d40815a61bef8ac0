/** `serve`: the service on one address until a signal ends it. */
import type { Command } from "./command.ts";
import { configOptions, readConfig } from "./configuration.ts";
import { listen } from "./listening.ts";
import { stamped } from "./log.ts";
import { preparePython } from "./setup.ts";
import { untilSignal } from "./signals.ts";

export const serve: Command = {
  name: "serve",
  summary: "Start the HTTP service",
  positionals: [],
  options: {
    host: { type: "string", value: "H", help: "address to listen on (default 127.0.0.1)" },
    port: { type: "string", value: "N", help: "port to listen on (default 8321)" },
    ...configOptions,
  },
  async run(given) {
    const config = readConfig(given);
    const python = await preparePython(config.python);
    const listening = await listen(config, python);
    tell(`Bullion listens on ${listening.url} (data in ${config.data_dir})`);
    await untilSignal();
    tell("Ending: a running job keeps a checkpoint and goes on at the next start");
    await listening.close();
    return 0;
  },
};

/** Whatever the level that is asked for: where it listens and that it ends is always said. */
function tell(text: string): void {
  console.error(stamped(text, "info"));
}
