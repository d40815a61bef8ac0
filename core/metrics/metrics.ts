/**
 * What the service counts and measures, as Prometheus reads it.
 *
 * Owns the registry; the rooms tell it what happened, gauges are set when somebody asks. Labels are a
 * method, a route's pattern, a status and fixed words: never a model, a path or anything a client
 * wrote, so that their number is bounded and nothing leaks.
 */
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { Health } from "../health.ts";

/** One generation, from its request to its end. */
export interface GenerationMeter {
  /** Its model is there: from now on the engine tells whether it waits. */
  modelReady(): void;
  /** Tokens that came now; the first call ends the wait for the first token. */
  generated(tokens: number): void;
  prompt(tokens: number, cached: number): void;
  /** Idempotent. */
  end(): void;
}

const FIRST_TOKEN = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const EACH_TOKEN = [0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.25, 1];
const RESTARTS = "Starts after a death nobody asked for, or a failed start";
const REQUEST = [0.005, 0.025, 0.1, 0.5, 1, 5, 15, 60];

export class Metrics {
  readonly #registry = new Registry();
  readonly #requests: Counter<"method" | "path" | "status">;
  readonly #requestSeconds: Histogram<"path">;
  readonly #tokens: Counter<"kind">;
  readonly #firstToken: Histogram;
  readonly #eachToken: Histogram;
  readonly #gauges = new Map<string, Gauge<"of">>();
  #withoutModel = 0; // choices whose model is not there yet

  constructor() {
    const registers = [this.#registry];
    this.#requests = new Counter({
      name: "bullion_http_requests_total",
      help: "HTTP requests answered; a stream counts when it begins",
      labelNames: ["method", "path", "status"],
      registers,
    });
    this.#requestSeconds = new Histogram({
      name: "bullion_http_request_seconds",
      help: "Time to an answer, or to the head of a stream",
      labelNames: ["path"],
      buckets: REQUEST,
      registers,
    });
    this.#tokens = new Counter({
      name: "bullion_tokens_total",
      help: "Tokens of chat and completions; cached ones are part of the prompt",
      labelNames: ["kind"],
      registers,
    });
    this.#firstToken = new Histogram({
      name: "bullion_time_to_first_token_seconds",
      help: "From the request to its first token, loading and waiting included",
      buckets: FIRST_TOKEN,
      registers,
    });
    this.#eachToken = new Histogram({
      name: "bullion_time_per_output_token_seconds",
      help: "Mean time between two tokens of one request after its first",
      buckets: EACH_TOKEN,
      registers,
    });
    for (const kind of ["prompt", "cached", "generated"]) this.#tokens.inc({ kind }, 0);
  }

  request(method: string, path: string, status: number, seconds: number): void {
    this.#requests.inc({ method, path, status });
    this.#requestSeconds.observe({ path }, seconds);
  }

  /** A request for so many choices has come. */
  generation(choices: number): GenerationMeter {
    let waiting = choices;
    this.#withoutModel += choices;
    const waitsNoMore = () => {
      this.#withoutModel -= waiting;
      waiting = 0;
    };
    const began = performance.now();
    let first = 0;
    let last = 0;
    let count = 0;
    return {
      modelReady: waitsNoMore,
      generated: (tokens) => {
        if (tokens === 0) return;
        last = performance.now();
        if (count === 0) {
          first = last;
          this.#firstToken.observe((first - began) / 1000);
        }
        count += tokens;
        this.#tokens.inc({ kind: "generated" }, tokens);
      },
      prompt: (tokens, cached) => {
        this.#tokens.inc({ kind: "prompt" }, tokens);
        this.#tokens.inc({ kind: "cached" }, cached);
      },
      end: () => {
        waitsNoMore();
        if (last > first) this.#eachToken.observe((last - first) / 1000 / (count - 1));
        first = last;
      },
    };
  }

  /** Everything in Prometheus' text format, with the state of engine and jobs as it is now. */
  text(health: Health): Promise<string> {
    const { engine, jobs } = health;
    const said = engine.engine ?? {};
    const number = (name: string) => typeof said[name] === "number" ? said[name] : 0;
    const memory = said.memory_bytes as { used: number; total: number } | undefined;
    const up = Number(engine.state === "ready");
    this.#set("bullion_engine_up", "1 while the engine process answers", up);
    this.#set("bullion_engine_restarts", RESTARTS, engine.restarts);
    this.#set("bullion_requests_running", "Choices being generated", number("running"));
    const waiting = number("waiting") + this.#withoutModel;
    this.#set("bullion_requests_waiting", "Choices that wait for a place or their model", waiting);
    const pages = "Pages of keys and values";
    this.#set("bullion_kv_pages", pages, number("kv_pages_used"), "used");
    this.#set("bullion_kv_pages", pages, number("kv_pages_total"), "total");
    this.#set("bullion_parkings", "Streams put aside as pages ran short", number("parkings"));
    this.#set("bullion_adapters_loaded", "Adapters over resident bases", number("adapters"));
    const device = "Memory of the device, by all processes";
    this.#set("bullion_gpu_memory_bytes", device, memory?.used ?? 0, "used");
    this.#set("bullion_gpu_memory_bytes", device, memory?.total ?? 0, "total");
    this.#set("bullion_jobs", "Jobs", Number(jobs.running !== null), "running");
    this.#set("bullion_jobs", "Jobs", jobs.queued, "queued");
    return this.#registry.metrics();
  }

  #set(name: string, help: string, value: number, of?: string): void {
    let gauge = this.#gauges.get(name);
    if (!gauge) {
      const labelNames = of === undefined ? [] : ["of" as const];
      gauge = new Gauge({ name, help, labelNames, registers: [this.#registry] });
      this.#gauges.set(name, gauge);
    }
    if (of === undefined) gauge.set(value);
    else gauge.set({ of }, value);
  }
}
