/** Splits what a model says into text and tool calls, as vLLM's Hermes parser does while streaming. */
import { randomId } from "./plan.ts";

export type ToolCallDelta = {
  readonly id?: string;
  readonly type?: "function";
  readonly index: number;
  readonly function: { readonly name?: string; readonly arguments?: string };
};

/** What a delta says; an empty object says nothing but is still sent where the answer ends. */
export type MessageDelta = {
  readonly content?: string | null;
  readonly tool_calls?: readonly ToolCallDelta[];
};

/** One per choice. */
export type DeltaParser = {
  /** Undefined: nothing to say, and no frame. */
  push(text: string, finished: boolean): MessageDelta | undefined;
  /** True once a tool was called. */
  readonly called: boolean;
};

/** Without a parser every token makes a frame, also one without text. */
export class PlainParser implements DeltaParser {
  readonly called = false;

  push(text: string): MessageDelta {
    return { content: text };
  }
}

const OPEN = "<tool_call>";
const CLOSE = "</tool_call>";

/** Holds back what may be a tool call, and leaves out frames without text. */
export class HermesParser implements DeltaParser {
  called = false;
  /** Text not passed on yet, or the whole text of the call. */
  #buffer = "";
  #inCall = false;
  #sentArguments = 0;

  push(text: string, finished: boolean): MessageDelta | undefined {
    this.#buffer += text;
    const delta = this.#inCall ? this.#call() : this.#plain(finished);
    return delta ?? (finished ? {} : undefined);
  }

  #plain(finished: boolean): MessageDelta | undefined {
    const open = this.#buffer.indexOf(OPEN);
    if (open >= 0) {
      const before = this.#buffer.slice(0, open);
      this.#buffer = this.#buffer.slice(open + OPEN.length);
      this.#inCall = true;
      return before === "" ? this.#call() : { content: before };
    }
    const held = finished ? 0 : heldBack(this.#buffer);
    const content = this.#buffer.slice(0, this.#buffer.length - held);
    this.#buffer = this.#buffer.slice(content.length);
    return content === "" ? undefined : { content };
  }

  #call(): MessageDelta | undefined {
    if (!this.called) {
      const name = /"name":\s*"([^"]+)"/.exec(this.#buffer)?.[1];
      if (name === undefined) return undefined;
      this.called = true;
      const call = {
        id: `chatcmpl-tool-${randomId()}`,
        type: "function",
        index: 0,
        function: { name },
      } as const;
      return { content: null, tool_calls: [call] };
    }
    const whole = callArguments(this.#buffer);
    const added = whole.slice(this.#sentArguments);
    if (added === "") return undefined;
    this.#sentArguments = whole.length;
    return { content: null, tool_calls: [{ index: 0, function: { arguments: added } }] };
  }
}

/** The call in a whole answer: its name and arguments, and the text around it. */
export function parseWhole(text: string): {
  content: string | null;
  call: { name: string; arguments: string } | undefined;
} {
  const open = text.indexOf(OPEN);
  const body = text.slice(open + OPEN.length).replace(CLOSE, "");
  const name = open < 0 ? undefined : /"name":\s*"([^"]+)"/.exec(body)?.[1];
  if (name === undefined) return { content: text, call: undefined };
  const before = text.slice(0, open);
  return { content: before === "" ? null : before, call: { name, arguments: callArguments(body) } };
}

/** How many of the last characters may be the beginning of a call. */
function heldBack(text: string): number {
  let length = Math.min(OPEN.length - 1, text.length);
  while (length > 0 && !OPEN.startsWith(text.slice(text.length - length))) length--;
  return length;
}

/** The arguments object inside the text of a call, as far as it goes. */
function callArguments(text: string): string {
  const start = /"arguments":\s*/.exec(text);
  if (start === null) return "";
  const from = start.index + start[0].length;
  let depth = 0;
  let inString = false;
  for (let at = from; at < text.length; at++) {
    const character = text[at];
    if (inString) {
      if (character === "\\") at++;
      else if (character === '"') inString = false;
    } else if (character === '"') inString = true;
    else if (character === "{") depth++;
    else if (character === "}" && --depth === 0) return text.slice(from, at + 1);
  }
  return text.slice(from);
}
