import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Case } from "./cases/case.ts";
import { VERSIONS } from "./layout.ts";
import type { Answer, End } from "./wire.ts";

export const FIXTURES = fileURLToPath(new URL("../../test/fixtures/vllm", import.meta.url));
const INDEX = join(FIXTURES, "index.json");
// A prompt that is longer than the context fills the index with one repeated word.
const LONGEST_STRING = 1000;

/** One line of the index: what was asked, and all of the answer but its body, which is in `file`. */
export interface Fixture {
  name: string;
  file: string;
  shows: string;
  /** Which arguments the server had: a key of `servers` in the index. */
  server: string;
  request: { method: "GET" | "POST"; path: string; headers: Record<string, string>; body?: unknown };
  status: number;
  headers: Record<string, string>;
  end: End;
}

export interface Index {
  vllm: string;
  servers: Record<string, string[]>;
  fixtures: Fixture[];
}

export async function readIndex(): Promise<Index> {
  const text = await readFile(INDEX, "utf8").catch(() => "");
  return text === "" ? { vllm: VERSIONS.vllm, servers: {}, fixtures: [] } : (JSON.parse(text) as Index);
}

/** Writes the body of one answer, byte for byte as it came (without the chunked encoding), and its index entry. */
export async function keep(index: Index, server: string, one: Case, answer: Answer): Promise<void> {
  await mkdir(FIXTURES, { recursive: true });
  const file = `${one.name}.${ending(answer.headers["content-type"] ?? "")}`;
  await writeFile(join(FIXTURES, file), answer.body);
  const { date: _date, ...headers } = answer.headers;
  const fixture: Fixture = {
    name: one.name,
    file,
    shows: one.shows,
    server,
    request: {
      method: one.body === undefined ? "GET" : "POST",
      path: one.path,
      headers: one.headers ?? {},
      ...(one.body === undefined ? {} : { body: one.body }),
    },
    status: answer.status,
    headers,
    end: answer.end,
  };
  index.fixtures = [...index.fixtures.filter((other) => other.name !== one.name), fixture];
}

function ending(contentType: string): string {
  if (contentType.startsWith("text/event-stream")) return "sse";
  return contentType.startsWith("application/json") ? "json" : "txt";
}

export async function writeIndex(index: Index): Promise<void> {
  index.fixtures.sort((one, other) => one.name.localeCompare(other.name));
  const abbreviated = JSON.stringify(
    index,
    (_key, value: unknown) =>
      typeof value === "string" && value.length > LONGEST_STRING
        ? `${value.slice(0, 40)}… (${value.length} characters)`
        : value,
    2,
  );
  await writeFile(INDEX, `${abbreviated}\n`);
  await writeFile(join(FIXTURES, "README.md"), readme(index));
}

function readme(index: Index): string {
  const servers = Object.entries(index.servers).map(([name, args]) => `| ${name} | \`${args.join(" ")}\` |`);
  const rows = index.fixtures.map(
    ({ file, server, request, status, end, shows }) =>
      `| [${file}](${file}) | ${server} | ${request.method} ${request.path} | ${status}${
        end === "complete" ? "" : `, ${end}`
      } | ${shows} |`,
  );
  return `# What a real vLLM says

Answers of vLLM ${index.vllm} on a CPU (SmolLM2-135M-Instruct as \`smol\`, all-MiniLM-L6-v2 as \`minilm\`), recorded
by \`node scripts/vllm/record.ts\`. Each file is the body of one answer, byte for byte, without the chunked
encoding. \`index.json\` has for each file the request, the status, the headers and how the answer ended:
\`complete\` (with its last chunk), \`cut\` (the connection broke) or \`deadline\`. Strings above ${LONGEST_STRING} characters
are shortened in the index only; the requests themselves are in \`scripts/vllm/cases\`.

Requests are greedy (temperature 0), so a second recording differs in ids, times, latencies and, on another
processor, perhaps in words. What the frames mean for a router: \`docs/vllm.md\`.

| server | arguments besides the defaults of \`scripts/vllm/server.ts\` |
| --- | --- |
${servers.join("\n")}

| file | server | request | status | shows |
| --- | --- | --- | --- | --- |
${rows.join("\n")}
`;
}
