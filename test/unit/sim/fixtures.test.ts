import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ReplicaOptions } from "../../../sim/origin/options.ts";
import { type Replica, startReplica } from "../../../sim/origin/replica.ts";
import { parseEvents, shapeOf, streamShape } from "./support/shape.ts";

/** Answers of a real vLLM, compared with the simulated one's to the same requests. */
type Fixture = {
  name: string;
  file: string;
  server: "chat" | "limits" | "crash" | "embed";
  request: {
    method: string;
    path: string;
    headers: Record<string, string>;
    body?: Record<string, unknown> | string;
  };
  status: number;
  headers: Record<string, string>;
};

const FOLDER = new URL("../../fixtures/vllm/", import.meta.url);
const INDEX = JSON.parse(readFileSync(new URL("index.json", FOLDER), "utf8")) as { fixtures: Fixture[] };

/** Situations, not requests: they are set up one by one in other tests. */
const STAGED =
  /^(crash|drain|error-draining|error-queue-full|metrics|health-busy|chat-stream-keep-alive)|clamped/;
/** One replica serves both models, so these routes exist where they do not in vLLM. */
const BOTH_MODELS = ["error-chat-on-embed-server", "error-embeddings-on-chat-server"];
/** These depend on what the model says; our model is made to say the same below. */
const OWN_TEXT = /stop-(string|sequence)/;
/** The embedding model has a context of its own there, and refuses by characters. */
const OTHER_CONTEXT = ["error-embeddings-too-long"];

const SKIPPED = [...BOTH_MODELS, ...OTHER_CONTEXT];
const CASES = INDEX.fixtures.filter(
  ({ name }) => !STAGED.test(name) && !OWN_TEXT.test(name) && !SKIPPED.includes(name),
);

const COMMON = { model: "smol", embedModel: "minilm", maxModelLen: 2048, speed: 1000 };
const SERVERS: Record<Fixture["server"], Partial<ReplicaOptions>> = {
  chat: { ...COMMON },
  limits: { ...COMMON, enableAutoToolChoice: false, enablePromptTokensDetails: false, apiKey: "golden-key" },
  crash: { ...COMMON, enableAutoToolChoice: false, enablePromptTokensDetails: false },
  embed: { ...COMMON },
};
const replicas = new Map<string, Replica>();

beforeAll(async () => {
  for (const [name, options] of Object.entries(SERVERS)) replicas.set(name, await startReplica(options));
});
afterAll(async () => {
  for (const replica of replicas.values()) await replica.close();
});

async function send({ name, server, request }: Fixture, body: Fixture["request"]["body"]): Promise<Response> {
  return fetch(replicas.get(server)!.url + request.path, {
    method: request.method,
    headers: {
      "content-type": "application/json",
      // The recording leaves the key out of its index.
      ...(name.includes("unauthorized") ? {} : { authorization: "Bearer golden-key" }),
      ...request.headers,
    },
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
}

/**
 * The same request, with an answer as long as the real model's, so that both end for the same reason; and with a
 * prompt that is too long for our tokenizer too, where that is the point.
 */
function adapt({ name, request }: Fixture, golden: string): Fixture["request"]["body"] {
  const { body, path } = request;
  if (typeof body !== "object") return body;
  const suffix = name.includes("too-long") ? " lighthouse".repeat(5000) : lengthDirective(golden);
  const messages = body.messages as { role: string; content: unknown }[] | undefined;
  if (messages !== undefined) {
    const lastUser = messages.findLastIndex((message) => message.role === "user");
    const adapted = messages.map((message, i) =>
      i === lastUser && typeof message.content === "string"
        ? { ...message, content: message.content + suffix }
        : message,
    );
    return { ...body, messages: adapted };
  }
  if (typeof body.prompt === "string") return { ...body, prompt: body.prompt + suffix };
  if (path === "/v1/responses") return { ...body, input: body.input + suffix };
  return body;
}

function lengthDirective(golden: string): string {
  const used = [...golden.matchAll(/"(?:completion|output)_tokens":(\d+)/g)].map((match) => Number(match[1]));
  const frames = [...golden.matchAll(/"delta":\{"content"/g)].length;
  const tokens = used.length > 0 ? Math.max(...used) : frames + 1;
  const wasCut = /"finish_reason":"length"|"max_tokens"|"status":"incomplete"/.test(golden);
  return ` [len=${wasCut ? tokens + 50 : tokens - 1}]`;
}

/** Shapes per choice, since the order in which choices take turns is free. */
function perChoice(text: string): Record<string, string[]> {
  const indexes = [...new Set([...text.matchAll(/"choices":\[\{"index":(\d+)/g)].map((match) => match[1]!))];
  const blocks = text.split("\n\n");
  const others = (index: string) =>
    indexes.filter((other) => other !== index).map((o) => `"choices":[{"index":${o},`);
  const keep = (index: string) =>
    blocks.filter((block) => !others(index).some((other) => block.includes(other)));
  return Object.fromEntries(
    (indexes.length === 0 ? ["-"] : indexes).map((i) => [i, streamShape(keep(i).join("\n\n"))]),
  );
}

/** What each chunk of a stream, or the only message, says; and the tokens counted by then. */
function words(text: string): unknown[] {
  if (!text.startsWith("data:"))
    return [(JSON.parse(text) as { choices: { message: object }[] }).choices[0]?.message];
  return parseEvents(text).map(({ data }) => {
    const { choices, usage } = data as {
      choices?: { delta: object; stop_reason?: string }[];
      usage?: { completion_tokens: number };
    };
    return [choices?.[0]?.delta, choices?.[0]?.stop_reason, usage?.completion_tokens];
  });
}

describe("answers of the real vLLM", () => {
  test("there are some", () => {
    expect(CASES.length).toBeGreaterThan(60);
  });

  test.each(
    INDEX.fixtures
      .filter(({ name }) => name.includes("stop-string"))
      .map((fixture) => [fixture.name, fixture] as const),
  )("%s, to the word", async (_name, fixture) => {
    const golden = readFileSync(new URL(fixture.file, FOLDER), "utf8");
    const body = fixture.request.body as Record<string, unknown>;
    const said = { ...body, structured_outputs: { choice: ["The capital of France is Paris."] } };
    const text = await (await send(fixture, said)).text();
    if (fixture.file.endsWith(".sse")) expect(words(text)).toEqual(words(golden));
    else expect(shapeOf(JSON.parse(text))).toBe(shapeOf(JSON.parse(golden)));
    expect(words(golden).length).toBeGreaterThan(0);
  });

  test.each(CASES.map((fixture) => [fixture.name, fixture] as const))("%s", async (_name, fixture) => {
    const golden = readFileSync(new URL(fixture.file, FOLDER), "utf8");
    const response = await send(fixture, adapt(fixture, golden));
    const text = await response.text();
    expect(response.status).toBe(fixture.status);
    expect(response.headers.get("content-type")).toBe(fixture.headers["content-type"] ?? null);
    for (const name of ["server", "vary", "allow", "retry-after"]) {
      expect(response.headers.get(name)).toBe(fixture.headers[name] ?? null);
    }
    if (fixture.file.endsWith(".sse")) {
      expect(perChoice(text)).toEqual(perChoice(golden));
      expect(parseEvents(text).at(-1)?.raw.startsWith("{")).toBe(
        parseEvents(golden).at(-1)?.raw.startsWith("{"),
      );
    } else if (fixture.status >= 400 || text === "") {
      expect(text).toBe(golden);
    } else {
      expect(shapeOf(JSON.parse(text))).toBe(shapeOf(JSON.parse(golden)));
    }
  });
});
