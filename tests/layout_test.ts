// The layout that CONTRIBUTING.md promises, held against the files.
import { deepStrictEqual, ok } from "node:assert/strict";
import { join, relative, resolve } from "node:path";

const root = new URL("..", import.meta.url).pathname;
const LONGEST = 300;

/** Who may import whom; every room may import itself and contract/. */
const MAY: Record<string, string[]> = {
  contract: [],
  bridge: [],
  core: ["bridge"],
  routes: ["core"],
  commands: ["routes", "core", "bridge"],
  "main.ts": ["commands"],
};
const PYTHON_MAY: Record<string, string[]> = {
  contract: [],
  models: [],
  data: ["models"],
  train: ["data", "models"],
  export: ["data", "models"],
  engine: ["data", "models"],
};

interface Source {
  path: string; // from the root
  text: string;
}

async function sources(folder: string, ending: string): Promise<Source[]> {
  const found: Source[] = [];
  for await (const entry of Deno.readDir(join(root, folder))) {
    const path = join(folder, entry.name);
    if (entry.isDirectory) found.push(...await sources(path, ending));
    else if (path.endsWith(ending)) {
      found.push({ path, text: await Deno.readTextFile(join(root, path)) });
    }
  }
  return found;
}

const rooms = ["contract", "bridge", "core", "routes", "commands"];
const typescript = (await Promise.all(rooms.map((room) => sources(room, ".ts")))).flat();
typescript.push({ path: "main.ts", text: await Deno.readTextFile(join(root, "main.ts")) });
const python = await sources("py/bullion", ".py");

function importsOf({ path, text }: Source): string[] {
  const specifiers = [...text.matchAll(/(?:from|import\()\s*"(\.[^"]+)"/g)].map(([, name]) =>
    name!
  );
  return specifiers.map((name) => relative(root, resolve(root, path, "..", name)));
}

Deno.test("imports run main → commands → routes → core → bridge → contract", () => {
  const backwards = typescript.flatMap((source) => {
    const room = source.path.split("/")[0]!;
    return importsOf(source)
      .filter((target) => {
        const other = target.split("/")[0]!;
        return other !== room && other !== "contract" && !MAY[room]!.includes(other);
      })
      .map((target) => `${source.path} → ${target}`);
  });
  deepStrictEqual(backwards, []);
});

Deno.test("no TypeScript file reaches itself by its imports", () => {
  const graph = new Map(typescript.map((source) => [source.path, importsOf(source)]));
  const circles: string[] = [];
  const done = new Set<string>();
  const walk = (path: string, way: string[]): void => {
    if (way.includes(path)) circles.push([...way.slice(way.indexOf(path)), path].join(" → "));
    if (done.has(path) || way.includes(path)) return;
    for (const next of graph.get(path) ?? []) walk(next, [...way, path]);
    done.add(path);
  };
  for (const path of graph.keys()) walk(path, []);
  deepStrictEqual(circles, []);
});

Deno.test("Python imports run from work to data to models to contract", () => {
  const backwards = python.flatMap(({ path, text }) => {
    const room = path.split("/")[2]!;
    const may = PYTHON_MAY[room];
    if (may === undefined) return [];
    return [...text.matchAll(/^\s*(?:from|import) bullion\.(\w+)/gm)]
      .map(([, other]) => other!)
      .filter((other) => other !== room && other !== "contract" && !may.includes(other))
      .map((other) => `${path} → bullion.${other}`);
  });
  deepStrictEqual(backwards, []);
});

Deno.test("one TypeScript file imports pythonia and one Python file imports peft", () => {
  const pythonia = typescript.filter(({ text }) => /["']pythonia\//.test(text));
  deepStrictEqual(pythonia.map(({ path }) => path), ["bridge/transport.ts"]);
  const peft = python.filter(({ text }) => /^\s*(?:from|import) peft\b/m.test(text));
  deepStrictEqual(peft.map(({ path }) => path), ["py/bullion/models/lora.py"]);
});

Deno.test(`a source file longer than ${LONGEST} lines says why in its header`, () => {
  const long = [...typescript, ...python]
    .map(({ path, text }) => {
      const all = text.split("\n");
      return { path, lines: all.length, head: all.slice(0, 20).join(" ") };
    })
    .filter(({ lines, head }) => lines > LONGEST && !/in one file because/i.test(head));
  deepStrictEqual(long, []);
});

Deno.test("the sources are found at all", () => {
  ok(typescript.length > 50 && python.length > 50);
});
