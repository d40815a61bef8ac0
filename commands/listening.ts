/** Opens the service over its Python doors and, where asked, puts it on an address. */
import { Engine } from "../bridge/engine.ts";
import { Trainer } from "../bridge/trainer.ts";
import { BullionError } from "../contract/errors.ts";
import type { ServerConfig } from "../core/config/server.ts";
import { openService } from "../core/service.ts";
import type { Service } from "../core/service.ts";
import { buildApp } from "../routes/app.ts";
import { paces, processSettings, serviceSettings } from "./configuration.ts";

export interface Listening {
  service: Service;
  url: string;
  close(): Promise<void>;
}

/** The service in this process, on no address. Refuses with `data_folder_in_use`. */
export function openHere(
  config: ServerConfig,
  python: string,
  address: string | null = null,
): Promise<Service> {
  const settings = processSettings(python, log, config.bridge);
  const pace = paces(config);
  const { threads, kv_memory_gb, max_running, max_waiting, prefill_tokens, cuda_graphs } =
    config.engine;
  const engine = new Engine(settings, {
    role: "engine",
    threads,
    kv_memory_gb,
    max_running,
    max_waiting,
    prefill_tokens,
    cuda_graphs,
  }, pace.engine);
  return openService(serviceSettings(config, address), {
    trainer: new Trainer(settings, pace.trainer, config.jobs.threads),
    engine,
  });
}

/** The service on its address. Port 0 takes a free one. */
export async function listen(config: ServerConfig, python: string): Promise<Listening> {
  const listener = bind(config);
  const { port } = listener.addr as Deno.NetAddr;
  const host = config.host.includes(":") ? `[${config.host}]` : config.host;
  const url = `http://${host}:${port}`;
  listener.close();
  const service = await openHere(config, python, url);
  const app = buildApp(service, {
    apiKeys: config.api_keys,
    uploadBytes: config.limits.max_upload_bytes,
    log,
  });
  const server = Deno.serve(
    { hostname: config.host, port, onListen: () => {} },
    (request) => app.fetch(request),
  );
  return {
    service,
    url,
    async close() {
      const drained = server.shutdown();
      await service.close();
      await drained;
    },
  };
}

/** Binds once beforehand, so that a taken port is refused before anything has started. */
function bind(config: ServerConfig): Deno.Listener {
  try {
    return Deno.listen({ hostname: config.host, port: config.port });
  } catch (cause) {
    throw new BullionError(
      "address_in_use",
      `Cannot listen on ${config.host}:${config.port}: ${(cause as Error).message}. ` +
        "Choose another with --port",
      { param: "port", cause },
    );
  }
}

function log(line: string): void {
  console.error(line);
}
