/** What is wrong in a body is said with its path, the value that came and what is taken. */
import assert from "node:assert/strict";
import { appOver, errorOf, post } from "./fake_service.ts";

const chat = { model: "m", messages: [{ role: "user", content: "hello" }] };
const text = { model: "m", prompt: "hello" };
const job = { model: "m", training_file: "file-1" };
const user = (more: Record<string, unknown>) => ({ role: "user", ...more });

async function refusal(path: string, body: unknown) {
  const response = await appOver({}).request(path, post(body));
  assert.equal(response.status, 400);
  return await errorOf(response);
}

function says(title: string, path: string, body: unknown, message: string): void {
  Deno.test(title, async () => assert.equal((await refusal(path, body)).message, message));
}

const CHAT = "/v1/chat/completions";
const TEXT = "/v1/completions";
const JOBS = "/v1/fine_tuning/jobs";

says(
  "an unknown key hears the nearest one",
  CHAT,
  { ...chat, temprature: 1, max_token: 5 },
  "temprature: there is no such key; the nearest one is temperature; " +
    "max_token: there is no such key; the nearest one is max_tokens",
);
says(
  "an unknown key below the top hears the nearest one of its place",
  JOBS,
  { ...job, method: { type: "supervised", supervised: { hyperparameters: { n_epoch: 3 } } } },
  "method.supervised.hyperparameters.n_epoch: there is no such key; the nearest one is n_epochs",
);
for (
  const [path, body, key, today] of [
    [CHAT, chat, "functions", "tools"],
    [CHAT, chat, "function_call", "tool_choice"],
    [TEXT, text, "max_completion_tokens", "max_tokens"],
  ] as const
) {
  says(
    `${key}, which ${path} does not have, is pointed to ${today}`,
    path,
    { ...body, [key]: 1 },
    `${key}: there is no such key; the one for it is ${today}`,
  );
}
says(
  "a bias for what is no token's id hears what a key is",
  CHAT,
  { ...chat, logit_bias: { "100": 1, "利润": 5 } },
  'logit_bias.利润: a key is the id of a token, in digits, got "利润"',
);
const price = { name: "price", parameters: { type: "object" } };
for (
  const [where, more, nearest] of [
    [
      "tools[0].function.paramaters",
      { tools: [{ type: "function", function: { name: "price", paramaters: {} } }] },
      "parameters",
    ],
    ["tools[0].fucntion", {
      tools: [{ type: "function", function: price, fucntion: price }],
    }, "function"],
    [
      "tool_choice.function.nmae",
      { tool_choice: { type: "function", function: { name: "price", nmae: "price" } } },
      "name",
    ],
    [
      "response_format.json_schema.shema",
      { response_format: { type: "json_schema", json_schema: { name: "a", shema: {} } } },
      "schema",
    ],
    [
      "stream_options.include_usages",
      { stream: true, stream_options: { include_usages: true } },
      "include_usage",
    ],
  ] as const
) {
  const hint = `there is no such key; the nearest one is ${nearest}`;
  says(`${where} of a chat hears the nearest one`, CHAT, { ...chat, ...more }, `${where}: ${hint}`);
}
says(
  "of many unknown keys the first are named and the others counted",
  TEXT,
  { ...text, ...Object.fromEntries(Array.from("abcdefgh", (key) => [`unheard_${key}`, 1])) },
  [..."abcde"].map((key) => `unheard_${key}: there is no such key; take it out; `).join("") +
    "and 3 more unknown keys",
);
says(
  "LLaMA-Factory's keys as JSON hear how they are sent",
  JOBS,
  { model_name_or_path: "m", stage: "sft", dataset: "d", lora_rank: 8, seed: 1 },
  "Cannot read this LLaMA-Factory configuration (model_name_or_path, stage, dataset, …) as JSON: " +
    "send it to /v1/fine_tuning/jobs with Content-Type: application/yaml, which takes JSON's " +
    "notation as well, or use OpenAI's fields (model, training_file)",
);
says(
  "one of LLaMA-Factory's keys in OpenAI's request is an unknown key like others",
  JOBS,
  { ...job, lora_rank: 8 },
  "lora_rank: there is no such key; there are model, training_file, validation_file, method, " +
    "hyperparameters, suffix, seed, metadata and integrations",
);
says(
  "an unknown key of a request for tokens is refused as well",
  "/tokenize",
  { model: "m", prompt: "a", add_special: true },
  "add_special: there is no such key; the nearest one is add_special_tokens",
);
says(
  "a value of the wrong type is shown beside what is taken",
  CHAT,
  { ...chat, temperature: "hot", stream: "yes", top_logprobs: 1.5 },
  'stream: true or false is needed, got "yes"; temperature: a number from 0 to 2 is needed, ' +
    'got "hot"; top_logprobs: an integer from 0 to 20 is needed, got 1.5',
);
says(
  "a value out of range hears the range",
  CHAT,
  { ...chat, temperature: 9, top_p: 2, n: 0 },
  "n: an integer from 1 to 128 is needed, got 0; temperature: a number from 0 to 2 is needed, " +
    "got 9; top_p: a number from 0 to 1 is needed, got 2",
);
says(
  "a penalty that would leave nothing of the logits hears the range",
  CHAT,
  { ...chat, repetition_penalty: 1e-30 },
  "repetition_penalty: a number from 0.01 to 100 is needed, got 1e-30",
);
says(
  "an integer that JavaScript rounds hears the limit",
  TEXT,
  { ...text, max_tokens: 1e18, n: 1e18 },
  "max_tokens: an integer from 0 to 9007199254740991 is needed, got about 1.000e+18; " +
    "n: an integer from 1 to 128 is needed, got about 1.000e+18",
);
says(
  "a seed that is no integer of 64 bits hears what is one",
  CHAT,
  { ...chat, seed: 1.5 },
  "seed: an integer from -2^63 to 2^64 - 1 is needed, got 1.5",
);
says(
  "a word that is none of the known ones hears them and the nearest",
  CHAT,
  { ...chat, messages: [{ role: "usr", content: "a" }] },
  'messages[0].role: one of "developer", "system", "user", "assistant", "tool" is needed, ' +
    'got "usr"; the nearest one is "user"',
);
says(
  "of another method nothing but its type is refused",
  JOBS,
  { ...job, method: { type: "dpo", dpo: { hyperparameters: { beta: 0.1 } } } },
  'method.type: only "supervised" is possible here, got "dpo"',
);
says(
  "an unknown key that is near none hears them all where they are few",
  JOBS,
  { ...job, method: { type: "supervised", dpo: {} } },
  "method.dpo: there is no such key; there are type and supervised",
);
says(
  "a key that is missing says what belongs there",
  JOBS,
  { model: "m" },
  "training_file: is missing; a non-empty text is needed",
);
says(
  "a value that is none of several kinds hears them all",
  TEXT,
  { ...text, prompt: 5 },
  "prompt: a text, a non-empty list of texts, a non-empty list of integers or a non-empty list of " +
    "lists of integers is needed, got 5",
);
says(
  "of several kinds the one that was meant says what is wrong with it",
  TEXT,
  { ...text, prompt: [-1], stop: ["a", "b", "c", "d", "e"] },
  'stop: a list of texts of at most 4 entries is needed, got ["a","b","c","d","e"]; ' +
    "prompt[0]: an integer of at least 0 is needed, got -1",
);
says(
  "a fault deep in a list is named with its whole path",
  CHAT,
  { ...chat, messages: [user({ content: "a" }), user({ content: "b" }), user({ content: 5 })] },
  "messages[2].content: a text or a list of objects is needed, got 5",
);
says(
  "a part that is no text is named in its list",
  CHAT,
  { ...chat, messages: [user({ content: [{ type: "image_url", text: "a" }] })] },
  'messages[0].content[0].type: only "text" is possible here, got "image_url"',
);
says("a body that is no object says so", CHAT, "[1]", "the body: an object is needed, got [1]");
says(
  "a suffix with other characters is shown",
  JOBS,
  { ...job, suffix: "a b" },
  "suffix: letters, digits, '.', '_' and '-' are allowed, got a b",
);

Deno.test("a long value is cut short", async () => {
  const { message } = await refusal(CHAT, { ...chat, temperature: "x".repeat(1000) });
  assert.equal(
    message,
    `temperature: a number from 0 to 2 is needed, got "${"x".repeat(59)}…`,
  );
});

Deno.test("param is the path of the first fault, and null for the body as a whole", async () => {
  const messages = [user({ content: "a", nmae: "x" })];
  const { param, code } = await refusal(CHAT, { ...chat, messages });
  assert.deepEqual([param, code], ["messages[0].nmae", "unknown_parameter"]);
  assert.equal((await refusal(CHAT, "[1]")).param, null);
});

Deno.test("a query hears what is taken, too", async () => {
  const response = await appOver({}).request("/v1/files?limit=none&order=up");
  assert.equal(
    (await errorOf(response)).message,
    'limit: an integer from 1 to 10000 is needed; order: one of "asc", "desc" is needed, got "up"',
  );
});

Deno.test("a body of nothing but faults is refused soon, and in few words", async () => {
  const many = (count: number, of: (i: number) => string) =>
    Array.from({ length: count }, (_, i) => of(i)).join(",");
  const bodies = {
    keys: `{"model":"m","prompt":"a",${many(150_000, (i) => `"k${i}":1`)}}`,
    "one long key": `{"model":"m","prompt":"a","${"x".repeat(5_000_000)}":1}`,
    "a long name": `{"model":"${"x".repeat(5_000_000)}","prompt":"a"}`,
    biases: `{"model":"m","prompt":"a","logit_bias":{${many(200_000, (i) => `"k${i}":1`)}}}`,
  };
  const app = appOver({}, { bodyBytes: 20_000_000 });
  for (const [what, body] of Object.entries(bodies)) {
    const response = await app.request(TEXT, post(body));
    const text = await response.text();
    assert.deepEqual([what, response.status, text.length < 1_000], [what, 400, true]);
  }
});
