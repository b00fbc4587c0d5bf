/**
 * Draws docs/images/first-minute.svg from what really happens: starts the stack, pastes the curl line that it prints,
 * and writes both down as a terminal shows them. Keys are shortened. `node scripts/docs/first-minute.ts`
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePorts } from "../../sim/stack/ports.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const COLUMNS = 104;
const LINE_PX = 19;
const STREAM_LINES = 6;

const [port] = (await freePorts(1, 27_000)) as [number];
const stateDir = mkdtempSync(join(tmpdir(), "meridian-picture-"));
const stack = spawn(process.execPath, [join(ROOT, "scripts/start.ts")], {
  cwd: ROOT,
  env: { ...process.env, PORT: String(port), MERIDIAN_STATE_DIR: stateDir },
});
let printed = "";
stack.stdout.on("data", (chunk: Buffer) => {
  printed += chunk.toString();
});
stack.stderr.pipe(process.stderr);
while (!printed.includes("ready in")) await Promise.race([once(stack.stdout, "data"), died()]);

const shown = printed.trimEnd();
const command = /curl -N [\s\S]*?-d '.*'/.exec(printed)?.[0] ?? "";
const streamed = await run(command);
stack.kill("SIGINT");
await once(stack, "exit");
rmSync(stateDir, { recursive: true, force: true });

const frames = streamed.split("\n").filter((line) => line !== "");
const lines = [
  "$ npm install && npm start",
  ...shown.split("\n"),
  "",
  "$ curl -N http://127.0.0.1:8787/v1/chat/completions …",
  ...frames.slice(0, STREAM_LINES),
  "…",
  ...frames.slice(-1),
].map((line) => shortened(line).replaceAll(String(port), "8787"));
writeFileSync(join(ROOT, "docs/images/first-minute.svg"), picture(lines));

async function died(): Promise<never> {
  await once(stack, "exit");
  throw new Error("the stack ended before it was ready");
}

async function run(line: string): Promise<string> {
  const shell = spawn("sh", ["-c", line.replace("curl", "curl -s")]);
  let text = "";
  shell.stdout.on("data", (chunk: Buffer) => {
    text += chunk.toString();
  });
  await once(shell, "exit");
  return text;
}

/** Keys are secrets even in a picture, and a frame says in its first half what a reader wants to see. */
function shortened(line: string): string {
  const safe = line
    .replace(/(mrd_.{6})[0-9A-Za-z]+/g, "$1…")
    .replace(/(mra_.{6})[0-9A-Za-z_-]+/g, "$1…")
    .replace(/"id":"chatcmpl[^"]*","object":"[^"]*","created":\d+,"model":"sim-chat",/, "…");
  return safe.length > COLUMNS ? `${safe.slice(0, COLUMNS - 1)}…` : safe;
}

function picture(text: readonly string[]): string {
  const height = text.length * LINE_PX + 58;
  const rows = text.map((line, index) => {
    const fill = line.startsWith("$ ") ? "#f2c879" : line.startsWith("  …") ? "#8fa3b8" : "#dfe6ee";
    return `<text x="20" y="${52 + index * LINE_PX}" fill="${fill}" xml:space="preserve">${escaped(line)}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 ${height}" font-family="ui-monospace, SFMono-Regular, Menlo, DejaVu Sans Mono, monospace" font-size="13.5">
<title>The first minute in a terminal</title>
<rect width="900" height="${height}" rx="10" fill="#1b2430"/>
<circle cx="22" cy="20" r="6" fill="#e0685c"/><circle cx="42" cy="20" r="6" fill="#e6b450"/><circle cx="62" cy="20" r="6" fill="#69b36c"/>
${rows.join("\n")}
</svg>
`;
}

function escaped(line: string): string {
  return line.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
