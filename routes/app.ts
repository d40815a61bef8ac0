/**
 * Builds the HTTP application over a service; does not listen.
 *
 * Owns what every route shares: body limit, error shape, 404 and 405, the OpenAPI document.
 * Routes are thin: schema in, one call into core, response out.
 */
import { OpenAPIHono, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { bodyLimit } from "hono/body-limit";
import { cors } from "hono/cors";
import { requestId } from "hono/request-id";
import { BullionError } from "../contract/errors.ts";
import type { Service } from "../core/service.ts";
import { checkKey, hasKey } from "./access.ts";
import { addChat } from "./chat.ts";
import { addCompletions } from "./completions.ts";
import { addDatasets } from "./datasets.ts";
import { addDocs } from "./docs.ts";
import { addDocuments } from "./documents.ts";
import { fromZod, respond, unreadable } from "./errors.ts";
import { sentenceOf } from "./faults.ts";
import { addExports } from "./exports.ts";
import { addFiles } from "./files.ts";
import { addFineTuning } from "./fine_tuning.ts";
import { addHealth } from "./health.ts";
import { addMetrics, counting } from "./metrics.ts";
import { addModels } from "./models.ts";
import type { App } from "./router.ts";

export interface AppSettings {
  apiKeys: readonly string[]; // none: every request is let in
  uploadBytes: number; // most bytes of one uploaded file, data set or document
  corsOrigins: readonly string[]; // whose pages may ask from a browser; "*": everybody's
  bodyBytes: number; // most bytes of any other request body
  log(line: string): void;
}

/** Answered without a key: what load balancers and browsers ask first. */
const OPEN = new Set(["/healthz", "/readyz", "/docs", "/openapi.json"]);

/** Uploads that go to the disk as they come; the store counts what arrives without a stated length. */
const STREAMED = new Set(["/v1/datasets", "/v1/documents"]);

/** What a fault is in that has no path. */
const WHOLE: Record<string, string> = { json: "the body", form: "the form", query: "the query" };

export function buildApp(service: Service, settings: AppSettings): App {
  z.config({ customError: sentenceOf });
  const app = new OpenAPIHono({
    defaultHook: (result) => {
      if (!result.success) throw fromZod(result.error, WHOLE[result.target] ?? "the request");
    },
  });
  app.onError((thrown, c) => respond(c, thrown, settings.log));
  app.notFound((c) => respond(c, missing(app, c), settings.log));
  app.use(requestId());
  app.use(counting(service));
  if (settings.corsOrigins.length > 0) {
    app.use(cors({ origin: [...settings.corsOrigins], exposeHeaders: ["X-Request-Id"] }));
  }
  // who can read the data folder's key needs no other
  const keys = [...settings.apiKeys, service.folderKey];
  const isLocked = settings.apiKeys.length > 0;
  if (isLocked) {
    app.use(async (c, next) => {
      if (!OPEN.has(c.req.path)) checkKey(c, keys);
      await next();
    });
  }
  const upload = limited(settings.uploadBytes, "limits.max_upload_bytes");
  const body = limited(settings.bodyBytes, "limits.max_body_bytes");
  app.use(async (c, next) => {
    if (STREAMED.has(c.req.path) && !c.req.header("content-length")) return await next();
    const isUpload = STREAMED.has(c.req.path) || c.req.path === "/v1/files";
    return await (isUpload ? upload : body)(c, next);
  });
  app.use(async (c, next) => {
    assertPlain(c);
    if (!STREAMED.has(c.req.path)) await assertUtf8(c);
    await next();
  });
  addFiles(app, service.files);
  addDatasets(app, service.datasets);
  addDocuments(app, service.documents);
  addFineTuning(app, service.jobs, service.folderKey);
  addExports(app, service.jobs, service.folderKey);
  addModels(app, service.models);
  addChat(app, service.chat);
  addCompletions(app, service.chat);
  addHealth(app, service, (c) => !isLocked || hasKey(c, keys));
  addMetrics(app, service);
  addDocs(app);
  return app;
}

function limited(maxSize: number, setting: string) {
  return bodyLimit({
    maxSize,
    onError: () => {
      throw new BullionError(
        "request_too_large",
        `The request body is larger than ${maxSize} bytes: send less, or raise ${setting}`,
      );
    },
  });
}

/** Nothing here unpacks a body. */
function assertPlain(c: Context): void {
  const coding = c.req.header("content-encoding") ?? "identity";
  if (coding.toLowerCase() === "identity") return;
  throw new BullionError(
    "unsupported_content_encoding",
    `Cannot read a body that is packed with ${coding}: send it as it is, without Content-Encoding`,
    { param: "Content-Encoding" },
  );
}

/** Hono's own reading puts a replacement character where bytes are no UTF-8, and says nothing. */
async function assertUtf8(c: Context): Promise<void> {
  const [, format] = /\b(json|yaml)\b/i.exec(c.req.header("content-type") ?? "") ?? [];
  if (format === undefined) return;
  const bytes = await c.req.arrayBuffer();
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw unreadable(format.toUpperCase() as "JSON" | "YAML", cause);
  }
}

/** 405 with `Allow` where the path exists under other methods, otherwise 404. */
function missing(app: App, c: Context): BullionError {
  const methods = new Set(
    app.routes
      .filter((route) => route.method !== "ALL" && patternOf(route.path).test(c.req.path))
      .map((route) => route.method),
  );
  if (methods.size === 0) {
    return new BullionError("path_not_found", `No such path: ${c.req.path}. See /docs`);
  }
  const allowed = [...methods].sort().join(", ");
  c.header("Allow", allowed);
  return new BullionError(
    "method_not_allowed",
    `${c.req.path} does not take ${c.req.method}, only ${allowed}`,
  );
}

function patternOf(path: string): RegExp {
  const pattern = path
    .replace(/[.*+?^$()|[\]\\]/g, "\\$&")
    .replace(/:\w+\{[^}]*\}/g, ".+")
    .replace(/:\w+/g, "[^/]+");
  return new RegExp(`^${pattern}$`);
}
