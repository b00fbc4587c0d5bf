import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { layoutOf } from "../../scripts/vllm/layout.ts";
import {
  killServer,
  type ServeOptions,
  signalServer,
  startServer,
  stopServer,
  type VllmServer,
  waitReady,
} from "../../scripts/vllm/server.ts";
import { planFromFile } from "../../sim/stack/plan.ts";
import { eventually, type TestStack, testStack } from "../support/stack.ts";

/**
 * Two real vLLM servers behind the whole stack, one of them killed while it streams: MERIDIAN_VLLM_DIR names an
 * installation (`npm run vllm -- install`). Needs some 9 GB of memory.
 */
const dir = process.env.MERIDIAN_VLLM_DIR ?? "";
const FIRST_PORT = 8_831;
const user = (content: string) => [{ role: "user" as const, content }];

const CASES: [name: string, content: string, more: object][] = [
  ["Chinese", "请写一首关于灯塔、海与渡船的长诗，慢慢写，写很多行。", {}],
  ["emoji", "Tell a long story in emojis and words 😀🚢🌊👩‍🚀🇫🇷, one emoji after each word.", {}],
  [
    "code",
    "Write a long TypeScript parser: `function parse(text: string): Node[] { return []; }`. Code only.",
    {},
  ],
  ["a stop string", "Count from one to forty in words, with commas.", { stop: ["twenty-nine", "thirty,"] }],
];

describe.skipIf(dir === "")("two real vLLM servers", () => {
  const layout = layoutOf(resolve(dir));
  const servers: VllmServer[] = [];
  let stack: TestStack;
  let state: string;

  const options = (at: number): ServeOptions & { log: string } => ({
    ...{ layout, port: FIRST_PORT + at, model: "chat", args: ["--max-num-seqs", "4"] },
    log: join(state, `vllm-${at}.log`),
  });

  async function start(at: number): Promise<void> {
    const server = await startServer(options(at));
    servers[at] = server;
    await waitReady(server, options(at).log);
  }

  beforeAll(async () => {
    state = mkdtempSync(join(tmpdir(), "meridian-vllm-stack-"));
    for (const at of [0, 1]) await start(at);
    const file = join(state, "origins.json");
    const urls = servers.map(({ baseUrl }) => baseUrl);
    const models = [
      { id: "smol", contextTokens: 2_048, firstTokenTimeoutMs: 60_000, tokenGapTimeoutMs: 30_000 },
    ];
    writeFileSync(
      file,
      JSON.stringify({ models, regions: { "us-east": { urls, concurrencyPerReplica: 4 } } }),
    );
    stack = await testStack({ plan: planFromFile(file) });
  }, 400_000);
  afterAll(async () => {
    await stack?.end();
    for (const server of servers) await stopServer(server, 5_000);
    if (state) rmSync(state, { recursive: true, force: true });
  }, 60_000);

  /** One streamed chat by the SDK; `during` is called with the replica once some text is there. */
  async function chat(content: string, more: object, during?: (replica: string) => void) {
    const body = { model: "smol", temperature: 0, max_tokens: 120, messages: user(content), ...more };
    const options = { stream: true as const, stream_options: { include_usage: true } };
    const { data, response } = await stack
      .openai()
      .chat.completions.create({ ...body, ...options })
      .withResponse();
    const told: { text: string; finish: string | null; usage: unknown } = {
      text: "",
      finish: null,
      usage: null,
    };
    let chunks = 0;
    for await (const chunk of data) {
      told.text += chunk.choices[0]?.delta.content ?? "";
      told.finish = chunk.choices[0]?.finish_reason ?? told.finish;
      if (chunk.usage) told.usage = [chunk.usage.prompt_tokens, chunk.usage.completion_tokens];
      chunks += 1;
      if (chunks === 12) during?.(response.headers.get("x-meridian-replica") ?? "");
    }
    return told;
  }

  async function charged(): Promise<readonly [number, number]> {
    const { totals } = await eventually(
      () => stack.usage(),
      ({ open }) => open.reservations === 0,
    );
    return [totals.promptTokens, totals.outputTokens];
  }

  it.each(CASES)(
    "%s: the stream goes on when its server is killed",
    async (_name, content, more) => {
      const unbroken = await chat(content, more);
      const before = await charged();
      let killed = -1;
      const told = await chat(content, more, (replica) => {
        killed = Number(replica.split("-").at(-1));
        signalServer(servers[killed]!, "SIGKILL");
      });
      expect(killed).toBeGreaterThanOrEqual(0);
      expect(told).toEqual(unbroken);
      const after = await charged();
      expect([after[0] - before[0], after[1] - before[1]]).toEqual(told.usage);
      await killServer(servers[killed]!);
      await start(killed);
      const usable = async () => JSON.stringify((await stack.admin.call("GET", "pools/us-east")).body);
      expect(await eventually(usable, (text) => text.split('"usable":true').length === 3, 60_000)).toContain(
        "usable",
      );
    },
    400_000,
  );
});
