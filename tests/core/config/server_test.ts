// The server's configuration: one default for each setting, layers in a fixed order, faults together.
import { deepStrictEqual, equal, match, ok, throws } from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { BullionError } from "../../../contract/errors.ts";
import { describeServerConfig, isLoopback, loadServerConfig } from "../../../core/config/server.ts";
import { environmentName } from "../../../core/config/server_layers.ts";
import { ServerSettings, settingPaths } from "../../../core/config/server_schema.ts";
import { readYamlMapping } from "../../../core/config/yaml.ts";
import { Faults } from "../../../core/config/faults.ts";
import { parse } from "@std/yaml";

const SHIPPED = fileURLToPath(new URL("../../../configs/server.yaml", import.meta.url));
const cwd = "/somewhere";

function withFile(text: string, body: (file: string) => void): void {
  const file = Deno.makeTempFileSync({ suffix: ".yaml" });
  try {
    Deno.writeTextFileSync(file, text);
    body(file);
  } finally {
    Deno.removeSync(file);
  }
}

function refusal(act: () => unknown): BullionError {
  try {
    act();
  } catch (error) {
    if (error instanceof BullionError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}

Deno.test("configs/server.yaml shows every setting with its default", () => {
  const shown = parse(Deno.readTextFileSync(SHIPPED), { version: "1.1" });
  deepStrictEqual(shown, ServerSettings.parse({}));
});

Deno.test("an empty configuration listens on loopback and needs no key", () => {
  const config = loadServerConfig({ cwd });
  equal(config.host, "127.0.0.1");
  equal(config.port, 8321);
  deepStrictEqual(config.api_keys, []);
});

Deno.test("a flag wins over the environment, which wins over the file, which wins over a default", () => {
  withFile("port: 1001\nlog_level: warn\nengine:\n  threads: 3\n  max_running: 7\n", (file) => {
    const env = { BULLION_PORT: "1002", BULLION_ENGINE__THREADS: "4" };
    const config = loadServerConfig({ file, env, flags: { port: "1003" }, cwd });
    equal(config.port, 1003);
    equal(config.engine.threads, 4);
    equal(config.engine.max_running, 7);
    equal(config.log_level, "warn");
    equal(config.engine.max_waiting, 512);
  });
});

Deno.test("a flag that was not given changes nothing", () => {
  equal(loadServerConfig({ flags: { port: undefined }, cwd }).port, 8321);
});

Deno.test("every setting can be written as an environment variable", () => {
  for (const { path } of settingPaths()) match(environmentName(path), /^BULLION_[A-Z_]+$/);
  const env = {
    BULLION_DATA: "d",
    BULLION_API_KEYS: "one, two",
    BULLION_ENGINE__CUDA_GRAPHS: "off",
    BULLION_ENGINE__KV_MEMORY_GB: "1.5",
    BULLION_PYTHON: "python3.12",
  };
  const config = loadServerConfig({ env, cwd });
  equal(config.data_dir, "/somewhere/d");
  deepStrictEqual(config.api_keys, ["one", "two"]);
  equal(config.engine.cuda_graphs, false);
  equal(config.engine.kv_memory_gb, 1.5);
  equal(config.python, "python3.12");
});

Deno.test("yes and off in the file are booleans, as in LLaMA-Factory's YAML", () => {
  withFile("trust_remote_code: yes\nengine: {cuda_graphs: off}\n", (file) => {
    const config = loadServerConfig({ file, cwd });
    deepStrictEqual([config.trust_remote_code, config.engine.cuda_graphs], [true, false]);
  });
});

Deno.test("an API key of digits stays a text", () => {
  deepStrictEqual(loadServerConfig({ env: { BULLION_API_KEYS: "12345" }, cwd }).api_keys, [
    "12345",
  ]);
});

Deno.test("an empty environment variable counts as absent", () => {
  equal(loadServerConfig({ env: { BULLION_PORT: "" }, cwd }).port, 8321);
});

Deno.test("USE_MODELSCOPE_HUB=1 chooses ModelScope, and BULLION_HUB has the last word", () => {
  equal(loadServerConfig({ env: { USE_MODELSCOPE_HUB: "1" }, cwd }).hub, "modelscope");
  equal(loadServerConfig({ env: { USE_MODELSCOPE_HUB: "0" }, cwd }).hub, "huggingface");
  const both = { USE_MODELSCOPE_HUB: "1", BULLION_HUB: "huggingface" };
  equal(loadServerConfig({ env: both, cwd }).hub, "huggingface");
});

Deno.test("relative paths start where the command was typed", () => {
  const flags = { data_dir: "mine", models_file: "m.yaml", python: "env/bin/python" };
  const config = loadServerConfig({ flags, cwd });
  equal(config.data_dir, "/somewhere/mine");
  equal(config.models_file, "/somewhere/m.yaml");
  equal(config.python, "/somewhere/env/bin/python");
  equal(loadServerConfig({ env: { INIT_CWD: "/typed" } }).data_dir, "/typed/.bullion");
});

Deno.test("without a choice the model names are those that are shipped", () => {
  ok(Deno.statSync(loadServerConfig({ cwd }).models_file).isFile);
});

Deno.test("all faults are reported together, each with its line and key", () => {
  withFile("port: many\nlog_levl: info\nengine:\n  max_running: 0\njobs: fast\n", (file) => {
    const env = { BULLION_LIMITS__MAX_PDF_PAGES: "-3" };
    const { code, message, param } = refusal(() => loadServerConfig({ file, env, cwd }));
    equal(code, "invalid_config");
    equal(param, "port");
    match(message, /5 faults/);
    match(message, /line 1, port: .*got "many"/);
    match(message, /line 2, log_levl: .*nearest one is log_level/);
    match(message, /line 4, engine\.max_running: .*got 0/);
    match(message, /line 5, jobs: /);
    match(message, /BULLION_LIMITS__MAX_PDF_PAGES: .*got -3/);
  });
});

Deno.test("a slip in a variable's name is refused, a variable of another part is left alone", () => {
  const slip = refusal(() => loadServerConfig({ env: { BULLION_PROT: "1" }, cwd }));
  match(slip.message, /BULLION_PROT: .*BULLION_PORT/);
  loadServerConfig({ env: { BULLION_TORCH_INDEX: "x", BULLION_SHARED: "y" }, cwd });
});

Deno.test("a file that does not exist is refused by its path", () => {
  match(refusal(() => loadServerConfig({ file: "no.yaml", cwd })).message, /\/somewhere\/no\.yaml/);
});

Deno.test("an address that others can reach needs an API key", () => {
  const open = refusal(() => loadServerConfig({ flags: { host: "0.0.0.0" }, cwd }));
  match(open.message, /--host: 0\.0\.0\.0 .*api_keys/);
  loadServerConfig({ flags: { host: "0.0.0.0" }, env: { BULLION_API_KEYS: "secret" }, cwd });
});

Deno.test("loopback is 127.*, ::1 and localhost, and nothing that only looks like it", () => {
  for (const host of ["127.0.0.1", "127.8.8.8", "::1", "localhost"]) ok(isLoopback(host), host);
  for (const host of ["0.0.0.0", "::", "127.0.0.1.example.org", "10.0.0.1"]) ok(!isLoopback(host));
});

Deno.test("the configuration is frozen down to its leaves", () => {
  const config = loadServerConfig({ cwd }) as { port: number; engine: { threads: number | null } };
  throws(() => config.port = 1, TypeError);
  throws(() => config.engine.threads = 1, TypeError);
});

Deno.test("the resolved values can be shown, and the API keys cannot", () => {
  const shown = describeServerConfig(
    loadServerConfig({ env: { BULLION_API_KEYS: "secret" }, cwd }),
  );
  match(shown, /port: 8321/);
  ok(!shown.includes("secret"));
});

Deno.test("an API key that is no text is refused without being repeated", () => {
  withFile("api_keys: [424242]\n", (file) => {
    const { message } = refusal(() => loadServerConfig({ file, cwd }));
    match(message, /line 1, api_keys: /);
    ok(!message.includes("424242"));
  });
});

Deno.test("broken YAML is refused with its line", () => {
  const faults = new Faults();
  readYamlMapping("port: 1\nhost: [a\n", faults);
  ok(faults.list.length > 0);
  ok(faults.list.every(({ line }) => line !== null && line >= 2));
});
