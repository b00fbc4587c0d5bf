/** Tools of a chat: what may be called, what must be, and what the simulated model says to call it. */
import { hashText } from "../engine/hash.ts";
import type { ReplicaOptions } from "../options.ts";
import { badRequest } from "./errors.ts";
import { sampleSchema, toText } from "./structured.ts";
import { type Body, optional } from "./validate.ts";

export type Tool = { readonly name: string; readonly description: string; readonly parameters: Body };

/** `call` is the text of the call that the model will make, if it will. */
export type ToolUse = {
  readonly tools: readonly Tool[];
  readonly choice: "none" | "auto" | "required" | "named";
  readonly call: string | undefined;
};

/** With `tool_choice: "auto"` the model calls a tool where the last user message contains this. */
export const CALL_DIRECTIVE = "[tool]";

/** Reads `tools` and `tool_choice` of a chat request, with vLLM's checks. */
export function readTools(body: Body, lastUserText: string, options: ReplicaOptions): ToolUse {
  const given = optional.list(body, "tools") as Body[] | undefined;
  if (given !== undefined && given.length === 0) {
    throw badRequest(
      "`tools` must not be an empty array. Either provide at least one tool or omit the field entirely.",
      "tools",
    );
  }
  const tools = (given ?? []).map(readTool);
  const wanted = body.tool_choice ?? (given === undefined ? "none" : "auto");
  if (wanted === "none") return { tools: [], choice: "none", call: undefined };
  if (given === undefined) throw badRequest("When using `tool_choice`, `tools` must be set.", "tool_choice");
  if (!options.enableAutoToolChoice) {
    const kind = typeof wanted === "string" ? `"${wanted}"` : "named";
    throw badRequest(
      `${kind} tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set`,
    );
  }
  if (typeof wanted === "object") {
    const name = ((wanted as Body).function as Body | undefined)?.name;
    const tool = tools.find((candidate) => candidate.name === name);
    if (tool === undefined) {
      throw badRequest(
        "The tool specified in `tool_choice` does not match any of the specified `tools`",
        "tool_choice",
      );
    }
    return { tools, choice: "named", call: callText(tool) };
  }
  if (wanted !== "auto" && wanted !== "required") {
    throw badRequest(
      `Invalid value for \`tool_choice\`: ${wanted}! Only named tools, "none", "auto" or "required" are supported.`,
      "tool_choice",
    );
  }
  const calls = wanted === "required" || lastUserText.includes(CALL_DIRECTIVE);
  return { tools, choice: wanted, call: calls ? callText(tools[0]!) : undefined };
}

function readTool(tool: Body): Tool {
  const definition = (tool.function ?? {}) as Body;
  return {
    name: String(definition.name),
    description: String(definition.description ?? ""),
    parameters: (definition.parameters ?? { type: "object", properties: {} }) as Body,
  };
}

/** A call as the Hermes template has models write it. */
function callText(tool: Tool): string {
  const call = { name: tool.name, arguments: sampleSchema(tool.parameters, hashText(tool.name)) };
  return `<tool_call>\n${toText(call)}\n</tool_call>`;
}

/** How the template shows the tools to the model, as text of a system message. */
export function toolPrompt(tools: readonly Tool[]): string {
  const lines = tools.map((tool) => JSON.stringify({ type: "function", function: tool }));
  return `You may call one of these functions:\n<tools>\n${lines.join("\n")}\n</tools>`;
}
