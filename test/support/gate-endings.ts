import type { OriginOrder } from "../../src/contract/origin-token.ts";
import type { Outcome, Usage } from "../../src/contract/report.ts";
import {
  chatFrame,
  chatStream,
  chatThen,
  chatWhole,
  DONE,
  dataFrame,
  errorAnswer,
  type Script,
  streamHead,
} from "./gate-engine.ts";
import { type Call, eventually, type Rig } from "./gate-rig.ts";

/** Every way in which an attempt can end: what the engine does, and what edge and bill must see of it. */

const messages = [{ role: "user", content: "hi" }];
export const BODIES = {
  stream: { model: "m", messages, stream: true },
  aggregate: { model: "m", messages },
  // Two choices: an aggregate would not be exact, so the engine is asked for one JSON.
  whole: { model: "m", messages, n: 2 },
};
export type Mode = keyof typeof BODIES;
export const MODES = Object.keys(BODIES) as Mode[];

/** What the edge must see, and what must be billed; `final: null` means that nothing is. */
export interface Expected {
  readonly status: number;
  readonly retryable?: "yes" | "no";
  readonly cut?: boolean;
  readonly text?: string | RegExp;
  readonly final: { outcome: Outcome; usage: Usage; estimated?: boolean } | null;
  /** Without a final report: the outcome as told in the header. */
  readonly outcome?: Outcome;
}

const usage = (promptTokens: number, outputTokens: number): Usage => ({
  promptTokens,
  cachedTokens: promptTokens === 5 ? 2 : 0,
  outputTokens,
});
const silence: Script = () => new Promise(() => {});
const untilLeft: Script = async (res, { left }) => {
  await left;
  res.end();
};
const crash: Script = (res) => void res.destroy();
const clientLeaves = async (call: Call, { engine }: Rig) => {
  await eventually(() => engine.seen.length > 0);
  call.leave();
};

export interface Row {
  readonly name: string;
  readonly script: (mode: Mode) => Script;
  readonly order?: () => Partial<OriginOrder>;
  readonly act?: (call: Call, rig: Rig) => Promise<void>;
  readonly expected: Partial<Record<Mode, Expected>>;
  /** The engine must see the gate leave. */
  readonly engineIsLeft: boolean;
}

const wholeOr = (mode: Mode, stream: Script, whole: Script) => (mode === "whole" ? whole : stream);
const engineFault = (outcome: Outcome, status = 502): Expected => ({
  status,
  retryable: "yes",
  outcome,
  final: null,
});
const inAllModes = (expected: Expected) => ({ stream: expected, aggregate: expected, whole: expected });
const brokenIn = (text: string, outcome: Outcome, tokens: number): Expected => ({
  status: 200,
  text: new RegExp(`t${tokens}.*${text}.*\\}\\n\\n$`, "s"),
  final: { outcome, usage: usage(5, tokens) },
});
const ERROR_FRAME = dataFrame({ error: { message: "EngineCore encountered an issue.", code: 500 } });

export const ROWS: Row[] = [
  {
    name: "complete",
    script: (mode) => wholeOr(mode, chatStream(3), chatWhole(3)),
    engineIsLeft: false,
    expected: {
      stream: {
        status: 200,
        text: /t1.*t2.*t3.*\[DONE\]\n\n$/s,
        final: { outcome: "complete", usage: usage(5, 3) },
      },
      aggregate: {
        status: 200,
        text: /"content":" t1 t2 t3"/,
        final: { outcome: "complete", usage: usage(5, 3) },
      },
      whole: {
        status: 200,
        text: /"model":"m".*"content":"hello"/,
        final: { outcome: "complete", usage: usage(5, 3) },
      },
    },
  },
  {
    name: "refused: the client's own mistake",
    script: () => errorAnswer(400, "top_p must be in (0, 1]"),
    engineIsLeft: false,
    expected: inAllModes({
      status: 400,
      retryable: "no",
      text: /top_p must be in/,
      final: { outcome: "refused", usage: usage(0, 0) },
    }),
  },
  {
    name: "overloaded: the engine's queue is full",
    script: () => errorAnswer(503, "The engine is currently busy"),
    engineIsLeft: false,
    expected: inAllModes(engineFault("overloaded", 503)),
  },
  {
    name: "draining: the engine shuts down",
    script: () => errorAnswer(500, "cannot schedule new futures after shutdown"),
    engineIsLeft: false,
    expected: inAllModes(engineFault("overloaded", 503)),
  },
  {
    name: "failed: status 500",
    script: () => errorAnswer(500, "boom"),
    engineIsLeft: false,
    expected: inAllModes(engineFault("failed")),
  },
  {
    name: "failed: the engine dies before its status",
    script:
      () =>
      (_res, { socket }) =>
        void socket.destroy(),
    engineIsLeft: false,
    expected: inAllModes(engineFault("failed")),
  },
  {
    name: "failed: nothing after the headers",
    script: () => (res) => {
      streamHead(res);
      res.end();
    },
    engineIsLeft: false,
    expected: inAllModes(engineFault("failed")),
  },
  {
    name: "failed: an error frame first",
    script: () => (res) => {
      streamHead(res);
      res.end(ERROR_FRAME + DONE);
    },
    engineIsLeft: false,
    expected: { stream: engineFault("failed"), aggregate: engineFault("failed") },
  },
  {
    name: "failed: an error frame and a clean end after two tokens",
    script: () => chatThen(2, (res) => void res.end(ERROR_FRAME + DONE)),
    engineIsLeft: false,
    expected: { stream: brokenIn("stream_broken", "failed", 2), aggregate: engineFault("failed") },
  },
  {
    name: "failed: a clean end without a finish reason",
    script: () => chatThen(2, (res) => void res.end()),
    engineIsLeft: false,
    expected: { stream: brokenIn("stream_broken", "failed", 2), aggregate: engineFault("failed") },
  },
  {
    name: "failed: [DONE] without a finish reason",
    script: () => chatThen(2, (res) => void res.end(DONE)),
    engineIsLeft: false,
    expected: { stream: brokenIn("stream_broken", "failed", 2), aggregate: engineFault("failed") },
  },
  {
    name: "failed: the connection breaks inside an event",
    script: () =>
      chatThen(2, (res) => {
        res.write(chatFrame(3, " t3").slice(0, 40), () => res.destroy());
      }),
    engineIsLeft: false,
    expected: { stream: brokenIn("stream_broken", "failed", 2), aggregate: engineFault("failed") },
  },
  {
    name: "failed: garbage",
    script: () => chatThen(2, (res) => void res.write("data: {oops\n\n")),
    engineIsLeft: true,
    expected: { stream: brokenIn("stream_broken", "failed", 2), aggregate: engineFault("failed") },
  },
  {
    name: "failed: half a JSON",
    script: () => (res) => {
      res.writeHead(200, { "content-type": "application/json", "content-length": 500 });
      res.write('{"id":"x"', () => crash(res, undefined as never));
    },
    engineIsLeft: false,
    expected: { whole: engineFault("failed") },
  },
  {
    name: "failed: no JSON",
    script: () => (res) => void res.end("<html>"),
    engineIsLeft: false,
    expected: { whole: engineFault("failed") },
  },
  {
    name: "first_token_timeout: headers at once, then only comments",
    script: () => async (res, request) => {
      streamHead(res);
      const beat = setInterval(() => res.write(": keep-alive\n\n"), 10);
      await request.left;
      clearInterval(beat);
    },
    order: () => ({ firstTokenTimeoutMs: 80 }),
    engineIsLeft: true,
    expected: { stream: engineFault("first_token_timeout"), aggregate: engineFault("first_token_timeout") },
  },
  {
    name: "token_gap_timeout: comments do not count",
    script: () =>
      chatThen(2, async (res, request) => {
        const beat = setInterval(() => res.write(": keep-alive\n\n"), 10);
        await request.left;
        clearInterval(beat);
      }),
    order: () => ({ tokenGapTimeoutMs: 300 }),
    engineIsLeft: true,
    expected: {
      stream: brokenIn("stream_broken", "token_gap_timeout", 2),
      aggregate: engineFault("token_gap_timeout"),
    },
  },
  {
    name: "deadline before the first token",
    script: () => silence,
    order: () => ({ deadlineMs: Date.now() + 80 }),
    engineIsLeft: true,
    expected: inAllModes({
      status: 504,
      retryable: "no",
      final: { outcome: "deadline", usage: usage(0, 0) },
    }),
  },
  {
    name: "deadline after two tokens, and one more that was on its way",
    script: () =>
      chatThen(2, async (res, { left }) => {
        await left;
        res.end(chatFrame(3, " t3"));
      }),
    order: () => ({ deadlineMs: Date.now() + 400 }),
    engineIsLeft: true,
    expected: {
      stream: {
        status: 200,
        text: /t2.*deadline_exceeded.*\n\n$/s,
        final: { outcome: "deadline", usage: usage(5, 3) },
      },
      aggregate: { status: 504, retryable: "no", final: { outcome: "deadline", usage: usage(5, 3) } },
    },
  },
  {
    name: "client_gone before the first token: the replica counts the prompt",
    script: () => untilLeft,
    act: clientLeaves,
    engineIsLeft: true,
    expected: inAllModes({
      status: 0,
      final: { outcome: "client_gone", usage: usage(7, 0) },
    }),
  },
  {
    name: "client_gone after two tokens, and two more that were on their way",
    script: () =>
      chatThen(2, async (res, { left }) => {
        await left;
        res.write(chatFrame(3, " t3"));
        setImmediate(() => res.end(chatFrame(4, " t4")));
      }),
    act: clientLeaves,
    engineIsLeft: true,
    expected: {
      stream: { status: 0, final: { outcome: "client_gone", usage: usage(5, 4) } },
      aggregate: { status: 0, final: { outcome: "client_gone", usage: usage(5, 4) } },
    },
  },
  {
    name: "client_gone as the engine's JSON was on its way",
    script: () => async (res, request) => {
      await request.left;
      await chatWhole(3)(res, request);
    },
    act: clientLeaves,
    engineIsLeft: true,
    expected: { whole: { status: 0, final: { outcome: "client_gone", usage: usage(5, 3) } } },
  },
];
