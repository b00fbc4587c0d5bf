/** The replica's settings. Names follow vLLM's flags where it has one. */
import { DEFAULT_SPEC, type EngineSpec } from "./engine/engine.ts";

export type ReplicaOptions = {
  readonly id: string;
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly model: string;
  /** Further names for the model; answers name it by the first, as vLLM's do. */
  readonly alsoServedAs: readonly string[];
  readonly embedModel: string | undefined;
  readonly maxModelLen: number;
  /** Waiting and running sequences together; undefined: no limit, as in vLLM. */
  readonly maxNumQueuedReqs: number | undefined;
  /** Divides all engine times. */
  readonly speed: number;
  readonly engine: EngineSpec;
  /** Tokens per frame after the first. */
  readonly streamInterval: number;
  /** Seconds between `: keep-alive` comments in an idle stream; 0: none. */
  readonly sseKeepAliveIntervalS: number;
  /** Seconds that SIGTERM lets streams run on. */
  readonly shutdownTimeoutS: number;
  readonly enablePromptTokensDetails: boolean;
  readonly enableForceIncludeUsage: boolean;
  readonly enableRequestIdHeaders: boolean;
  readonly enableServerLoadTracking: boolean;
  /** Needed for `tool_choice: "auto"`, as in vLLM. */
  readonly enableAutoToolChoice: boolean;
  readonly priorityScheduling: boolean;
  readonly apiKey: string | undefined;
  readonly gpuMemoryMiB: number;
  /** The ledger also says when tokens were taken and emitted. */
  readonly ledgerTimes: boolean;
};

export const DEFAULT_OPTIONS: ReplicaOptions = {
  id: "replica-0",
  host: "127.0.0.1",
  port: 0,
  model: "sim-chat",
  alsoServedAs: [],
  embedModel: "sim-embed",
  maxModelLen: 32_768,
  maxNumQueuedReqs: undefined,
  speed: 1,
  engine: DEFAULT_SPEC,
  streamInterval: 1,
  sseKeepAliveIntervalS: 0,
  shutdownTimeoutS: 0,
  enablePromptTokensDetails: true,
  enableForceIncludeUsage: false,
  enableRequestIdHeaders: false,
  enableServerLoadTracking: false,
  enableAutoToolChoice: true,
  priorityScheduling: false,
  apiKey: undefined,
  gpuMemoryMiB: 81_559,
  ledgerTimes: false,
};

/** Fills in defaults and checks what must hold between the settings. */
export function completeOptions(given: Partial<ReplicaOptions>): ReplicaOptions {
  const options = { ...DEFAULT_OPTIONS, ...given };
  const { blockTokens, cacheBlocks } = options.engine;
  // Or a single sequence could outgrow the cache and be preempted for ever; vLLM refuses to start then too.
  if (blockTokens * cacheBlocks < options.maxModelLen) {
    throw new Error(
      `${cacheBlocks} blocks of ${blockTokens} tokens cannot hold ${options.maxModelLen} tokens`,
    );
  }
  if (!(options.speed > 0)) throw new Error("speed must be positive");
  return options;
}

type Parse = (value: string) => unknown;
const FLAGS: Record<string, { key: keyof ReplicaOptions; parse: Parse | undefined }> = {
  id: { key: "id", parse: String },
  host: { key: "host", parse: String },
  port: { key: "port", parse: integer },
  model: { key: "model", parse: String },
  "also-served-as": { key: "alsoServedAs", parse: (value) => value.split(",") },
  "embed-model": { key: "embedModel", parse: String },
  "max-model-len": { key: "maxModelLen", parse: integer },
  "max-num-queued-reqs": { key: "maxNumQueuedReqs", parse: integer },
  speed: { key: "speed", parse: positive },
  "stream-interval": { key: "streamInterval", parse: integer },
  "sse-keep-alive-interval": { key: "sseKeepAliveIntervalS", parse: number },
  "shutdown-timeout": { key: "shutdownTimeoutS", parse: number },
  "enable-prompt-tokens-details": { key: "enablePromptTokensDetails", parse: undefined },
  "enable-force-include-usage": { key: "enableForceIncludeUsage", parse: undefined },
  "enable-request-id-headers": { key: "enableRequestIdHeaders", parse: undefined },
  "enable-server-load-tracking": { key: "enableServerLoadTracking", parse: undefined },
  "enable-auto-tool-choice": { key: "enableAutoToolChoice", parse: undefined },
  "scheduling-policy": { key: "priorityScheduling", parse: (value) => value === "priority" },
  "api-key": { key: "apiKey", parse: String },
  "ledger-times": { key: "ledgerTimes", parse: undefined },
  "gpu-memory-mib": { key: "gpuMemoryMiB", parse: integer },
};
const ENGINE_FLAGS: Record<string, keyof EngineSpec> = {
  "max-num-seqs": "maxSequences",
  "max-num-batched-tokens": "maxStepTokens",
  "block-size": "blockTokens",
  "num-gpu-blocks": "cacheBlocks",
  "step-base-ms": "stepBaseMs",
  "prefill-ms-per-token": "msPerPrefillToken",
  "decode-ms-per-sequence": "msPerDecode",
};

/** Reads `--name value`, `--name=value` and, for switches, `--name` and `--no-name`. Throws on anything else. */
export function parseArguments(argv: readonly string[]): ReplicaOptions {
  const given: Record<string, unknown> = {};
  const engine: Record<string, number> = {};
  const words = argv.flatMap((word) => (word.startsWith("--") ? splitOnce(word) : [word]));
  for (let i = 0; i < words.length; i++) {
    const name = words[i]!.replace(/^--/, "");
    const flag = FLAGS[name] ?? FLAGS[name.replace(/^no-/, "")];
    const engineKey = ENGINE_FLAGS[name];
    if (!words[i]!.startsWith("--") || (flag === undefined && engineKey === undefined)) {
      throw new Error(
        `unknown argument ${words[i]}; known: ${[...Object.keys(FLAGS), ...Object.keys(ENGINE_FLAGS)]}`,
      );
    }
    if (flag !== undefined && flag.parse === undefined) {
      given[flag.key] = !name.startsWith("no-");
      continue;
    }
    const value = words[++i];
    if (value === undefined) throw new Error(`--${name} needs a value`);
    if (engineKey !== undefined) engine[engineKey] = number(value);
    else given[flag!.key] = flag!.parse!(value);
  }
  return completeOptions({ ...given, engine: { ...DEFAULT_SPEC, ...engine } });
}

function splitOnce(word: string): string[] {
  const at = word.indexOf("=");
  return at < 0 ? [word] : [word.slice(0, at), word.slice(at + 1)];
}

function number(value: string): number {
  const parsed = Number(value);
  if (value.trim() === "" || !Number.isFinite(parsed) || parsed < 0)
    throw new Error(`not a number: ${value}`);
  return parsed;
}

function integer(value: string): number {
  const parsed = number(value);
  if (!Number.isInteger(parsed)) throw new Error(`not an integer: ${value}`);
  return parsed;
}

function positive(value: string): number {
  const parsed = number(value);
  if (parsed === 0) throw new Error("must be positive");
  return parsed;
}
