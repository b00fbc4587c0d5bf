import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { chat, USAGE } from "./vllm/cases/case.ts";
import { install, prepareModels } from "./vllm/install.ts";
import { CHAT_MODEL, EMBED_MODEL, type Layout, layoutOf } from "./vllm/layout.ts";
import { deltaText, frames } from "./vllm/probes/read.ts";
import {
  killServer,
  lastLines,
  type ServeOptions,
  STOP_GRACE_MS,
  startServer,
  stopServer,
  type VllmServer,
  waitReady,
  withServer,
} from "./vllm/server.ts";

const USAGE_TEXT = `npm run vllm -- [install|model|serve|check] [--embed] [--dir DIR] [--port PORT] [-- VLLM ARGUMENTS]

A real vLLM on this machine's CPU (Linux, Python 3.11 to 3.14, 8 GB of disk, 5 GB of memory).
  install  into a virtual environment of its own, once: about 3 minutes
  model    prepare a small chat model and a small embedding model, once
  serve    in the foreground until Ctrl-C (the default)
  check    start, ask one question, stop
Each does what is missing of the ones before it.
  --embed  serve the embedding model instead of the chat model
  --dir    where all of it is kept (.meridian/vllm)
  --port   8801`;
const DEFAULT_PORT = "8801";
const SAME_SIGNAL_MS = 1000;
const COMMANDS = ["install", "model", "serve", "check"];

const say = (line: string) => console.log(line);

async function serve(options: ServeOptions & { log: string }): Promise<void> {
  say(`starting vLLM (log: ${options.log})`);
  const server = await startServer(options);
  let stoppingSinceMs = 0;
  const stop = () => {
    // npm passes a Ctrl-C on that the terminal has sent us already: twice at once is still once.
    if (stoppingSinceMs > 0 && Date.now() - stoppingSinceMs < SAME_SIGNAL_MS) return;
    if (stoppingSinceMs > 0) return void killServer(server);
    stoppingSinceMs = Date.now();
    say("stopping vLLM; once more to kill it");
    void stopServer(server, STOP_GRACE_MS);
  };
  process.on("SIGINT", stop);
  process.on("SIGTERM", stop);
  try {
    await waitReady(server, options.log);
    say(`vLLM ready at ${server.baseUrl} (model ${options.model === "chat" ? CHAT_MODEL : EMBED_MODEL})`);
    await server.ended;
    if (stoppingSinceMs === 0) throw new Error(`vLLM ended by itself:\n${await lastLines(options.log)}`);
  } catch (error) {
    if (stoppingSinceMs === 0) throw error;
  } finally {
    // Also when the API process died alone: its engine can outlive it.
    await stopServer(server, STOP_GRACE_MS);
  }
  say("vLLM stopped");
}

async function check(options: ServeOptions & { log: string }): Promise<void> {
  say(`starting vLLM (log: ${options.log})`);
  await withServer(options, options.model === "chat" ? checkChat : checkEmbed);
}

async function post(server: VllmServer, path: string, body: unknown): Promise<string> {
  const response = await fetch(`${server.baseUrl}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(60_000),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${path} answered ${response.status}: ${text}`);
  return text;
}

async function checkChat(server: VllmServer): Promise<void> {
  const text = await post(server, "/v1/chat/completions", chat(USAGE));
  const answer = frames(text).map(deltaText).join("");
  if (!answer.includes("Paris")) throw new Error(`not the expected answer: ${text}`);
  say(`vLLM answered: ${answer}`);
}

async function checkEmbed(server: VllmServer): Promise<void> {
  const text = await post(server, "/v1/embeddings", { model: EMBED_MODEL, input: "Paris" });
  const { data } = JSON.parse(text) as { data: { embedding: number[] }[] };
  const size = data[0]?.embedding.length;
  if (size !== 384) throw new Error(`not an embedding of 384 numbers: ${text.slice(0, 200)}`);
  say(`vLLM answered with an embedding of ${size} numbers`);
}

async function main(argv: string[]): Promise<void> {
  const cut = argv.includes("--") ? argv.indexOf("--") : argv.length;
  const { values, positionals } = parseArgs({
    args: argv.slice(0, cut),
    allowPositionals: true,
    options: {
      dir: { type: "string", default: ".meridian/vllm" },
      port: { type: "string", default: DEFAULT_PORT },
      embed: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  const command = positionals[0] ?? "serve";
  if (values.help) return say(USAGE_TEXT);
  if (!COMMANDS.includes(command) || positionals.length > 1) throw new Error(USAGE_TEXT);
  const port = Number(values.port);
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new Error(`no port: ${values.port}`);

  const layout: Layout = layoutOf(resolve(values.dir));
  await install(layout, say);
  if (command === "install") return;
  await prepareModels(layout, say);
  if (command === "model") return;
  const model = values.embed ? ("embed" as const) : ("chat" as const);
  const log = resolve(layout.dir, `${command}-${port}.log`);
  await (command === "serve" ? serve : check)({ layout, port, model, args: argv.slice(cut + 1), log });
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
