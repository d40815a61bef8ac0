/** The type of the application that every route is added to. */
import type { OpenAPIHono } from "@hono/zod-openapi";

export type App = OpenAPIHono;
