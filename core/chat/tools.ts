/**
 * What a chat request says about functions: what the model is told, what it must write, how its answer
 * is read. Pure.
 */
import type { ChatRequest } from "../../contract/chat.ts";
import { BullionError } from "../../contract/errors.ts";
import type { GenerateSpec } from "../../contract/worker.ts";
import type { Tool, ToolFormat } from "../../contract/tools.ts";
import type { CallReading } from "./calls.ts";
import { faultOf, schemaFaultOf } from "./values.ts";

type Asked = Pick<
  ChatRequest,
  "tools" | "tool_choice" | "parallel_tool_calls" | "response_format"
>;
type Declared = { type: "function"; function: Required<Omit<Tool["function"], "strict">> };
type Forced = Extract<GenerateSpec["format"], { type: "tool_calls" }>;

/** No schema means, as with OpenAI, a function without parameters. */
const NO_PARAMETERS = { type: "object", properties: {}, additionalProperties: false };

/**
 * The tools that the prompt declares, each with all that templates look for; null: none. Throws for
 * tools that cannot be called.
 */
export function declaredTools({ tools, tool_choice }: Asked): Declared[] | null {
  if (tool_choice === "none" || !tools?.length) return null;
  const names = tools.map((tool) => tool.function.name);
  return tools.map(({ type, function: { name, description = "", parameters } }, at) => {
    if (names.indexOf(name) < at) {
      throw new BullionError(
        "duplicate_function_name",
        `Cannot declare ${name} twice, as a call of it could mean either: give each its own name`,
        { param: `tools[${at}].function.name` },
      );
    }
    const schema = schemaOf(parameters);
    checkParameters(name, faultOf(schema), at);
    if (schema.type !== "object") {
      throw new BullionError(
        "invalid_function_parameters",
        `Cannot declare ${name} as its parameters are of type ${JSON.stringify(schema.type)}: ` +
          'a function takes an object, {"type": "object", "properties": …}',
        { param: `tools[${at}].function.parameters` },
      );
    }
    return { type, function: { name, description, parameters: schema } };
  });
}

/** What `tool_choice` makes the answer be; null: the model decides. Throws for a choice of nothing. */
export function forcedCalls(asked: Asked): Forced | null {
  const { tool_choice: choice, tools } = asked;
  if (choice == null || choice === "none" || choice === "auto") return null;
  const may = tools ?? [];
  const functions = may.flatMap(({ function: { name, parameters } }, at) => {
    if (choice !== "required" && name !== choice.function.name) return [];
    const schema = schemaOf(parameters);
    checkParameters(name, schemaFaultOf(schema), at);
    return [{ name, parameters: schema }];
  });
  if (functions.length === 0) {
    const names = may.map((tool) => tool.function.name).join(", ") || "none";
    const what = choice === "required" ? "a call" : JSON.stringify(choice.function.name);
    throw new BullionError(
      "invalid_tool_choice",
      `Cannot force ${what} as the tools of this request are ${names}: name one of \`tools\``,
      { param: "tool_choice" },
    );
  }
  const several = choice === "required" && asked.parallel_tool_calls !== false;
  return { type: "tool_calls", functions, several };
}

/** How calls are read from the answer of a model that writes them in `format`; null: not at all. */
export function callReading(asked: Asked, format: ToolFormat | null): CallReading | null {
  const tools = declaredTools(asked);
  if (tools === null || format === null) return null;
  const forced = forcedCalls(asked);
  // An answer held to a JSON schema is the answer, even where it looks like a call.
  if (!forced && (asked.response_format?.type ?? "text") !== "text") return null;
  return {
    format,
    names: tools.map((tool) => tool.function.name),
    forced: forced !== null,
    most: asked.parallel_tool_calls === false ? 1 : Infinity,
  };
}

function checkParameters(name: string, fault: string | null, at: number): void {
  if (fault === null) return;
  throw new BullionError(
    "invalid_function_parameters",
    `Cannot declare ${name} as the schema of its parameters ${fault}`,
    { param: `tools[${at}].function.parameters` },
  );
}

function schemaOf(parameters: Record<string, unknown> | undefined): Record<string, unknown> {
  const isEmpty = parameters === undefined || Object.keys(parameters).length === 0;
  return isEmpty ? NO_PARAMETERS : { type: "object", ...parameters };
}
