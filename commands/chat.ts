/** `chat FILE.yaml`: a conversation in the terminal by LLaMA-Factory's inference YAML. */
import type { ChatMessage } from "../contract/chat.ts";
import { readRecipe } from "../core/config/llamafactory.ts";
import { toChatSettings } from "../core/config/specs.ts";
import type { Service } from "../core/service.ts";
import type { Command } from "./command.ts";
import { configOptions, readConfig, readRecipeFile } from "./configuration.ts";
import { openHere } from "./listening.ts";
import { preparePython } from "./setup.ts";

export const chat: Command = {
  name: "chat",
  summary: "Chat in the terminal by LLaMA-Factory's YAML",
  positionals: [{ name: "FILE.yaml", help: "an inference recipe" }],
  options: {
    ask: { type: "string", value: "TEXT", help: "ask this one question and end" },
    ...configOptions,
  },
  async run(given) {
    const text = await readRecipeFile(given);
    const config = readConfig(given);
    const recipe = readRecipe(text, "chat");
    for (const { key, reason } of recipe.notes) console.error(`${key}: ${reason}`);
    const python = await preparePython(config.python);
    const service = await openHere(config, python, "chat");
    try {
      const origin = { kind: "command_line" as const, cwd: given.cwd };
      const { model_name_or_path, adapter_name_or_path } = recipe.keys;
      const adapter = adapter_name_or_path?.[0] ?? null;
      const model = service.chat.open(model_name_or_path!, adapter, origin);
      const conversation = new Conversation(service, model, toChatSettings(recipe.keys));
      const once = given.text("ask");
      if (once !== null) await conversation.ask(once);
      else await talk(conversation);
      return 0;
    } finally {
      await service.close();
    }
  },
};

class Conversation {
  readonly #messages: ChatMessage[] = [];

  constructor(
    readonly service: Service,
    readonly model: string,
    readonly settings: ReturnType<typeof toChatSettings>,
  ) {
    this.clear();
  }

  clear(): void {
    this.#messages.length = 0;
    const { system } = this.settings;
    if (system) this.#messages.push({ role: "system", content: system });
  }

  /** Writes the answer to standard output as it comes. */
  async ask(question: string): Promise<void> {
    this.#messages.push({ role: "user", content: question });
    const { max_tokens, ...sampling } = this.settings.sampling;
    const request = { model: this.model, messages: this.#messages, max_tokens, ...sampling };
    let answer = "";
    for await (
      const chunk of await this.service.chat.stream(request, new AbortController().signal)
    ) {
      const text = chunk.choices[0]?.delta.content ?? "";
      answer += text;
      await Deno.stdout.write(new TextEncoder().encode(text));
    }
    console.log();
    this.#messages.push({ role: "assistant", content: answer });
  }
}

/** Reads questions from standard input until it ends, `exit`, or `clear` for a new conversation. */
async function talk(conversation: Conversation): Promise<void> {
  const terminal = Deno.stdin.isTerminal();
  const invite = () => terminal && Deno.stderr.writeSync(new TextEncoder().encode("> "));
  if (terminal) console.error("`clear` begins anew, `exit` ends");
  invite();
  let rest = "";
  const read = async (line: string) => {
    if (line.trim() === "clear") conversation.clear();
    else if (line.trim() !== "") await conversation.ask(line.trim());
    invite();
  };
  for await (const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line.trim() === "exit") return;
      await read(line);
    }
  }
  if (rest.trim() !== "" && rest.trim() !== "exit") await read(rest);
}
