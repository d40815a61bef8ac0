/** `/openapi.json`, and `/docs`: a page that shows it and loads nothing from elsewhere. */
import type { App } from "./router.ts";

const INFO = {
  openapi: "3.1.0",
  info: {
    title: "Bullion",
    version: "0.1.0",
    description: "Turns listed companies' reports into a question-answering model and serves it.",
  },
};

const PAGE = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Bullion: the interface</title>
<style>
  body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
  h2 { margin: 2rem 0 .5rem; border-bottom: 1px solid #ccc; }
  details { margin: .25rem 0; }
  summary { cursor: pointer; }
  code { font: 13px ui-monospace, monospace; }
  .verb { display: inline-block; width: 4.5rem; font-weight: 600; text-transform: uppercase; }
  pre { background: #f5f5f5; padding: .75rem; overflow: auto; font: 12px ui-monospace, monospace; }
  @media (prefers-color-scheme: dark) { body { background: #111; color: #ddd; } pre { background: #222; } }
</style>
<h1>Bullion</h1>
<p>The interface, from <a href="/openapi.json">/openapi.json</a>.</p>
<main></main>
<script type="module">
  const text = (tag, content, parent, name) => {
    const node = document.createElement(tag);
    node.textContent = content;
    if (name) node.className = name;
    parent.append(node);
    return node;
  };
  const main = document.querySelector("main");
  const { paths } = await (await fetch("/openapi.json")).json();
  const groups = new Map();
  for (const [path, verbs] of Object.entries(paths)) {
    for (const [verb, route] of Object.entries(verbs)) {
      const group = route.tags?.[0] ?? "Other";
      groups.set(group, [...(groups.get(group) ?? []), { path, verb, route }]);
    }
  }
  for (const [group, routes] of groups) {
    text("h2", group, main);
    for (const { path, verb, route } of routes) {
      const details = text("details", "", main);
      const summary = text("summary", "", details);
      text("code", verb, summary, "verb");
      text("code", path, summary);
      summary.append(" " + (route.summary ?? ""));
      const shown = { parameters: route.parameters, requestBody: route.requestBody, responses: route.responses };
      text("pre", JSON.stringify(shown, null, 2), details);
    }
  }
</script>
</html>
`;

export function addDocs(app: App): void {
  app.doc31("/openapi.json", INFO);
  app.get("/docs", (c) => c.html(PAGE));
}
