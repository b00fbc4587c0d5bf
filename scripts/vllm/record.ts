// Records test/fixtures/vllm anew: node scripts/vllm/record.ts [--dir DIR] [--only chat,limits,crash,embed]
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { CHAT_CASES } from "./cases/chat.ts";
import { EMBED_CASES } from "./cases/embed.ts";
import { ERROR_CASES } from "./cases/errors.ts";
import { COMPLETION_CASES, MESSAGE_CASES, OTHER_CASES, RESPONSES_CASES } from "./cases/surfaces.ts";
import { readIndex, writeIndex } from "./fixtures.ts";
import { hasModels, isInstalled, layoutOf } from "./layout.ts";
import { API_KEY, type Recorder, record, recordCrash, recordDrain, recordLimits } from "./scenarios.ts";
import { withServer } from "./server.ts";

const PORT = 8811;
const TOOL_ARGS = ["--enable-auto-tool-choice", "--tool-call-parser", "hermes"];

interface Group {
  model: "chat" | "embed";
  args: string[];
  key?: string;
  run: (recorder: Recorder) => Promise<void>;
}

const GROUPS: Record<string, Group> = {
  chat: {
    model: "chat",
    args: ["--enable-prompt-tokens-details", "--max-num-seqs", "8", ...TOOL_ARGS],
    run: async (recorder) => {
      const surfaces = [...CHAT_CASES, ...COMPLETION_CASES, ...RESPONSES_CASES, ...MESSAGE_CASES];
      for (const one of [...surfaces, ...OTHER_CASES, ...ERROR_CASES]) await record(recorder, one);
    },
  },
  limits: {
    model: "chat",
    args: [
      ...["--max-num-seqs", "1", "--max-num-queued-reqs", "2", "--sse-keep-alive-interval", "1"],
      ...["--api-key", API_KEY, "--shutdown-timeout", "20"],
    ],
    key: API_KEY,
    run: async (recorder) => {
      await recordLimits(recorder);
      await recordDrain(recorder);
    },
  },
  crash: { model: "chat", args: ["--max-num-seqs", "8"], run: recordCrash },
  embed: {
    model: "embed",
    args: [],
    run: async (recorder) => {
      for (const one of EMBED_CASES) await record(recorder, one);
    },
  },
};

const { values } = parseArgs({
  options: { dir: { type: "string", default: ".meridian/vllm" }, only: { type: "string" } },
});
const layout = layoutOf(resolve(values.dir));
if (!isInstalled(layout) || !hasModels(layout)) {
  throw new Error(`no vLLM in ${layout.dir}; run: npm run vllm -- model --dir ${values.dir}`);
}
for (const label of values.only?.split(",") ?? Object.keys(GROUPS)) {
  const group = GROUPS[label];
  if (group === undefined) throw new Error(`--only knows ${Object.keys(GROUPS).join(", ")}, not ${label}`);
  const log = `${layout.dir}/record-${label}.log`;
  await withServer({ layout, port: PORT, model: group.model, args: group.args, log }, async (server) => {
    const index = await readIndex();
    index.servers[label] = group.args;
    const headers: Record<string, string> =
      group.key === undefined ? {} : { authorization: `Bearer ${group.key}` };
    await group.run({ server, label, index, headers });
    await writeIndex(index);
  });
}
