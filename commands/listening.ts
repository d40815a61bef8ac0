/** Opens the service over its Python doors and, where asked, puts it on an address. */
import { getRequestListener } from "@hono/node-server";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
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
    const server = await bind(config, (request) => app.fetch(genuine(request)));
    const { port } = server.address() as AddressInfo;
    service.announce(urlHere(config.host, port));
    return {
      service,
      url: urlOf(config.host, port),
      async close() {
        const drained = new Promise((resolve) => server.close(resolve));
        server.closeIdleConnections();
        await service.close();
        // The last words are written; who never asked, or does not read, is not waited for.
        const patience = setTimeout(() => server.closeAllConnections(), LAST_WORDS_MS);
        await drained;
        clearTimeout(patience);
      },
    };
  } catch (error) {
    await service.close();
    throw error;
  }
}

/** How long a connection may stay open without a request; clients keep theirs for less. */
const KEEP_ALIVE_MS = 75_000;

/** How long clients may take to read the end of their answers when the service stops. */
const LAST_WORDS_MS = 500;

type Handler = (request: Request) => Response | Promise<Response>;

/**
 * By node:http, as Deno.serve (2.9) does not tell that a client has left while its answer is being
 * made, unless head and body of its request came in one piece: SDKs send two.
 */
async function bind(config: ServerConfig, handler: Handler): Promise<Server> {
  const server = createServer(getRequestListener(handler, { overrideGlobalObjects: false }));
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  try {
    assertMayListen(config);
    const listening = once(server, "listening");
    server.listen(config.port, config.host);
    await listening;
    return server;
  } catch (cause) {
    throw cannotListen(config, cause as Error);
  }
}

/**
 * What the listener makes of a request is none to who makes another one of it, as Hono's limit does for
 * a body whose length is not stated.
 */
function genuine(request: Request): Request {
  if (request.body === null || request.headers.has("content-length")) return request;
  const { url, method, headers, body, signal } = request;
  return new Request(url, { method, headers, body, signal });
}

/** Throws before node:http does: its refusal cannot be caught. */
function assertMayListen({ host, port }: ServerConfig): void {
  const asked = {
    name: "net",
    host: `${host.includes(":") ? `[${host}]` : host}:${port}`,
  } as const;
  if (Deno.permissions.querySync(asked).state === "granted") return;
  throw new Error(
    "deno task serve may listen on 127.0.0.1, localhost and ::1, and everywhere with 0.0.0.0 or ::",
  );
}

function cannotListen({ host, port }: ServerConfig, cause: Error): BullionError {
  const text = `Cannot listen on ${host}:${port}: `;
  if ((cause as Error & { code?: string }).code === "EADDRINUSE") {
    const message = `${text}the address is in use. Choose another with --port`;
    return new BullionError("address_in_use", message, { param: "port", cause });
  }
  const why = cause.message;
  const message = `${text}${why}. Choose another with --host`;
  return new BullionError("address_not_usable", message, { param: "host", cause });
}
