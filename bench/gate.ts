/**
 * CPU of the gate per streamed event, against a bare node:http pipe proxy in the same run. `node bench/gate.ts`
 *
 * An origin sends each stream one event every few milliseconds, as an engine does: events that arrive together
 * would be cheaper, for the gate and for the pipe alike. Origin, gate, proxy and load are processes of their own;
 * each round runs every case once, and the median of the rounds counts.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { Agent, createServer, request, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { macKey } from "../src/contract/encoding.ts";
import { ORIGIN_TOKEN_HEADER, type OriginOrder, signOrder } from "../src/contract/origin-token.ts";

const { values: flags } = parseArgs({
  options: {
    role: { type: "string", default: "load" },
    to: { type: "string", default: "" },
    streams: { type: "string", default: "150" },
    events: { type: "string", default: "100" },
    "every-ms": { type: "string", default: "20" },
    rounds: { type: "string", default: "5" },
    json: { type: "string" },
  },
});
const STREAMS = Number(flags.streams);
const EVENTS = Number(flags.events);
const EVERY_MS = Number(flags["every-ms"]);
const ROUNDS = Number(flags.rounds);
const SECRET = "a secret for the benchmark only";
const CHAT = "/v1/chat/completions";
const AGENT = new Agent({ keepAlive: true, maxSockets: 4_096 });

/** A frame of chat as vLLM 0.32 writes it with `continuous_usage_stats`. */
function frame(token: number): string {
  const finish = token === EVENTS ? '"stop"' : "null";
  return (
    'data: {"id":"chatcmpl-b995983bb7961eb3","object":"chat.completion.chunk","created":1795409129,' +
    `"model":"served","choices":[{"index":0,"delta":{"content":" word${token % 97}"},"logprobs":null,` +
    `"finish_reason":${finish},"token_ids":null}],"usage":{"prompt_tokens":437,"total_tokens":${437 + token},` +
    `"completion_tokens":${token},"completion_tokens_details":null}}\n\n`
  );
}

async function runOrigin(): Promise<void> {
  const server = createServer((req, res) => {
    req.resume();
    if (req.method === "GET") return void res.end(req.url === "/v1/models" ? '{"data":[]}' : "");
    res.writeHead(200, { "content-type": "text/event-stream" });
    let token = 0;
    // Streams begin at different instants of the period, or all their events would come at once.
    setTimeout(() => {
      const timer = setInterval(() => {
        token += 1;
        res.write(frame(token));
        if (token < EVENTS) return;
        clearInterval(timer);
        res.end("data: [DONE]\n\n");
      }, EVERY_MS);
    }, Math.random() * EVERY_MS);
  });
  await announce(server);
}

/** What any proxy on node:http pays: headers and bytes passed on, nothing looked at. */
async function runProxy(to: string): Promise<void> {
  const server = createServer((req, res) => {
    const upstream = request(`${to}${req.url}`, { method: req.method, headers: req.headers, agent: AGENT });
    upstream.on("response", (answer) => {
      res.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(res);
    });
    req.pipe(upstream);
  });
  await announce(server);
  process.on("message", () => process.send?.(process.cpuUsage()));
}

async function announce(server: Server): Promise<void> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  process.send?.(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  process.once("disconnect", () => process.exit(0));
}

/** One process to measure. */
interface Target {
  readonly url: string;
  readonly child: ChildProcess;
  cpuUs(): Promise<number>;
}

async function start(role: string, to = ""): Promise<Target> {
  const args = ["--role", role, "--to", to, "--events", `${EVENTS}`, "--every-ms", `${EVERY_MS}`];
  const child = fork(fileURLToPath(import.meta.url), args);
  const [url] = (await once(child, "message")) as [string];
  return {
    url,
    child,
    async cpuUs() {
      child.send("cpu");
      const [usage] = (await once(child, "message")) as [NodeJS.CpuUsage];
      return usage.user + usage.system;
    },
  };
}

async function startGate(originUrl: string, edgeUrl: string): Promise<Target> {
  const config = {
    pool: "bench",
    gate: "bench-a",
    listen: { port: 0 },
    edgeUrl,
    replicas: { static: [{ id: "r0", url: originUrl }] },
    concurrencyPerReplica: 8_192,
    quiet: true,
  };
  const env = {
    ...process.env,
    MERIDIAN_GATE_CONFIG: JSON.stringify(config),
    MERIDIAN_GATE_SECRETS: JSON.stringify({ "1": SECRET }),
  };
  const main = fileURLToPath(new URL("../src/gate/main.ts", import.meta.url));
  const child = fork(main, [], { env, stdio: ["ignore", "pipe", "inherit", "ipc"] });
  const [line] = (await once(child.stdout!, "data")) as [Buffer];
  child.stdout!.resume();
  const url = String(line).trim().split(" ").at(-1)!;
  const cpuUs = async () => {
    const text = await (await fetch(`${url}/metrics`)).text();
    return Number(/^meridian_gate_cpu_seconds_total (.*)$/m.exec(text)![1]) * 1e6;
  };
  return { url, child, cpuUs };
}

/** Takes reports as an edge does. */
async function startEdge(): Promise<Server> {
  const server = createServer((req, res) => {
    req.resume();
    req.on("end", () => res.end('{"stop":[],"again":[]}'));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

const key = await macKey(SECRET);
let requests = 0;

function order(): OriginOrder {
  requests += 1;
  const nowMs = Date.now();
  return {
    pool: "bench",
    secretVersion: 1,
    requestId: `bench-${requests}`,
    attempt: 0,
    path: CHAT,
    replica: "r0",
    servedModel: "served",
    startByMs: nowMs + 30_000,
    deadlineMs: nowMs + 600_000,
    firstTokenTimeoutMs: 10_000,
    tokenGapTimeoutMs: 20_000,
    cacheSalt: "salt",
    maxOutputTokens: null,
    estimatedPromptTokens: 400,
    ticket: "t".repeat(200),
  };
}

const messages = [{ role: "user", content: "word ".repeat(400) }];

async function one(url: string, stream: boolean): Promise<void> {
  const body = JSON.stringify({ model: "m", messages, stream });
  const headers = { [ORIGIN_TOKEN_HEADER]: await signOrder(order(), key), "content-length": body.length };
  const req = request(`${url}${CHAT}`, { method: "POST", headers, agent: AGENT });
  req.end(body);
  const [answer] = await once(req, "response");
  let bytes = 0;
  answer.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
  });
  await once(answer, "end");
  if (answer.statusCode !== 200 || bytes < EVENTS)
    throw new Error(`status ${answer.statusCode}, ${bytes} bytes`);
}

/** Microseconds of CPU per event; all that a request costs is spread over its events. */
async function measure(target: Target, stream: boolean): Promise<number> {
  const before = await target.cpuUs();
  await Promise.all(Array.from({ length: STREAMS }, () => one(target.url, stream)));
  return ((await target.cpuUs()) - before) / (STREAMS * EVENTS);
}

const median = (values: number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;

async function runLoad(): Promise<void> {
  const edge = await startEdge();
  const origin = await start("origin");
  const proxy = await start("proxy", origin.url);
  const gate = await startGate(origin.url, `http://127.0.0.1:${(edge.address() as AddressInfo).port}`);
  const cases = [
    { name: "bare pipe proxy", target: proxy, stream: true, us: [] as number[] },
    { name: "gate, stream", target: gate, stream: true, us: [] as number[] },
    { name: "gate, aggregate", target: gate, stream: false, us: [] as number[] },
  ];
  // The first round warms the compilers up and does not count.
  for (let round = 0; round <= ROUNDS; round++) {
    for (const { target, stream, us } of cases) {
      const measured = await measure(target, stream);
      if (round > 0) us.push(measured);
    }
  }
  const floor = median(cases[0]!.us);
  console.log(
    `${STREAMS} streams of ${EVENTS} events, one each ${EVERY_MS} ms; median of ${ROUNDS} rounds\n`,
  );
  console.log("case              CPU µs/event   of the bare pipe   lowest … highest");
  const rows = cases.map(({ name, us }) => {
    const cpuUs = median(us);
    const row = { name, cpuUs, ratio: cpuUs / floor, lowestUs: Math.min(...us), highestUs: Math.max(...us) };
    const cells = [cpuUs.toFixed(1).padStart(12), `${row.ratio.toFixed(2)}×`.padStart(18)];
    const range = `${row.lowestUs.toFixed(1)} … ${row.highestUs.toFixed(1)}`;
    console.log(`${name.padEnd(18)}${cells.join(" ")}   ${range}`);
    return row;
  });
  if (flags.json)
    writeFileSync(flags.json, JSON.stringify({ streams: STREAMS, events: EVENTS, rows }, null, 2));
  for (const { child } of [gate, proxy, origin]) child.disconnect();
  edge.close();
  AGENT.destroy();
}

if (flags.role === "origin") await runOrigin();
else if (flags.role === "proxy") await runProxy(flags.to);
else await runLoad();
