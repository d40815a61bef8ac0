/** Opens the service over its Python doors and, where asked, puts it on an address. */
import { Engine } from "../bridge/engine.ts";
import { Trainer } from "../bridge/trainer.ts";
import { BullionError } from "../contract/errors.ts";
import type { ServerConfig } from "../core/config/server.ts";
import { openService } from "../core/service.ts";
import type { Service } from "../core/service.ts";
import { buildApp } from "../routes/app.ts";
import { processSettings } from "./configuration.ts";
import { plainLog, stampedLog } from "./log.ts";

export interface Listening {
  service: Service;
  url: string;
  close(): Promise<void>;
}

/** The service in this process, on no address. Refuses with `data_folder_in_use`. */
export function openHere(
  config: ServerConfig,
  python: string,
  command: string,
  {
    log = plainLog(config),
    spare = false, // start the next job's interpreter beforehand
  } = {},
): Promise<Service> {
  const settings = processSettings(python, log, config.bridge);
  const { threads, kv_memory_gb, max_running, max_waiting, prefill_tokens, cuda_graphs } =
    config.engine;
  const opening = {
    role: "engine" as const,
    threads,
    kv_memory_gb,
    max_running,
    max_waiting,
    prefill_tokens,
    cuda_graphs,
  };
  const trainer = new Trainer(settings, {
    threads: config.jobs.threads,
    keepSpare: config.jobs.keep_spare && spare,
  });
  return openService(config, { trainer, engine: new Engine(settings, opening) }, command);
}

const EVERYWHERE = new Set(["0.0.0.0", "::"]);

function urlOf(host: string, port: number): string {
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** Where commands on this machine reach a service: by its loopback if it listens everywhere. */
export function urlHere(host: string, port: number): string {
  return urlOf(EVERYWHERE.has(host) ? "127.0.0.1" : host, port);
}

/** The service on its address. Port 0 takes a free one. */
export async function listen(config: ServerConfig, python: string): Promise<Listening> {
  const log = stampedLog(config);
  const service = await openHere(config, python, "serve", { log, spare: true });
  try {
    const app = buildApp(service, {
      apiKeys: config.api_keys,
      corsOrigins: config.cors_origins,
      uploadBytes: config.limits.max_upload_bytes,
      bodyBytes: config.limits.max_body_bytes,
      log: (text) => log(text, "error"),
    });
    const server = bind(config, (request) => app.fetch(request));
    const url = urlOf(config.host, server.addr.port);
    service.announce(urlHere(config.host, server.addr.port));
    return {
      service,
      url,
      async close() {
        const drained = server.shutdown();
        await service.close();
        await drained;
      },
    };
  } catch (error) {
    await service.close();
    throw error;
  }
}

type Handler = (request: Request) => Response | Promise<Response>;

function bind(config: ServerConfig, handler: Handler): Deno.HttpServer<Deno.NetAddr> {
  try {
    const { host: hostname, port } = config;
    return Deno.serve({ hostname, port, onListen: () => {} }, handler);
  } catch (cause) {
    throw cannotListen(config, cause as Error);
  }
}

function cannotListen({ host, port }: ServerConfig, cause: Error): BullionError {
  const text = `Cannot listen on ${host}:${port}: `;
  if (cause instanceof Deno.errors.AddrInUse) {
    const message = `${text}${cause.message}. Choose another with --port`;
    return new BullionError("address_in_use", message, { param: "port", cause });
  }
  const why = cause instanceof Deno.errors.NotCapable
    ? "deno task serve may listen on 127.0.0.1, localhost and ::1, and everywhere with 0.0.0.0 or ::"
    : cause.message;
  const message = `${text}${why}. Choose another with --host`;
  return new BullionError("address_not_usable", message, { param: "host", cause });
}
