import { readFileSync } from "node:fs";
import { z } from "zod";
import { GATE_DRAIN_MS } from "../bounds.ts";
import { poolIdSchema } from "../catalogue.ts";
import { REPLICAS_MAX } from "./bounds.ts";

const secretsSchema = z
  .record(
    z.string().regex(/^\d{1,6}$/, "a secret's version is a whole number"),
    z.string().min(16, "a secret has at least 16 characters"),
  )
  .refine((secrets) => Object.keys(secrets).length > 0, "at least one secret is needed");

const port = z.number().int().min(0).max(65_535);

/** Engines are spoken to in plain HTTP inside the region's network; vLLM terminates no TLS worth its cost. */
const httpUrl = z.url({ protocol: /^http$/ }).transform((url) => url.replace(/\/+$/, ""));

const replicasSchema = z.union([
  z.strictObject({
    static: z
      .array(
        z.strictObject({
          id: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/, "id: letters, digits and . _ -"),
          url: httpUrl,
          /** Prometheus exporter of the replica's GPUs. */
          dcgmUrl: httpUrl.optional(),
        }),
      )
      .max(REPLICAS_MAX)
      .refine((list) => new Set(list.map(({ id }) => id)).size === list.length, "ids must differ"),
  }),
  z.strictObject({
    dns: z.strictObject({
      name: z.string().min(1).max(253),
      port: port.min(1),
      everyMs: z.number().int().min(100).max(300_000).default(5_000),
      dcgmPort: port.min(1).optional(),
    }),
  }),
  z.strictObject({
    aws: z.strictObject({
      /** Of EC2 instances: all that carry it are this pool's replicas. */
      tag: z.strictObject({ key: z.string().min(1).max(128), value: z.string().min(1).max(256) }),
      port: port.min(1),
      region: z.string().regex(/^[a-z]{2}(-[a-z]+)+-\d$/, "region: as in eu-central-1"),
      everyMs: z.number().int().min(1_000).max(300_000).default(5_000),
      dcgmPort: port.min(1).optional(),
    }),
  }),
]);
export type ReplicaSource = z.infer<typeof replicasSchema>;

const fileSchema = z.strictObject({
  pool: poolIdSchema,
  /** This instance's name: differs between the gates of one pool. */
  gate: z.string().min(1).max(64),
  listen: z.strictObject({ host: z.string().min(1).default("127.0.0.1"), port }),
  edgeUrl: z.url({ protocol: /^https?$/ }).transform((url) => url.replace(/\/+$/, "")),
  secrets: secretsSchema.optional(),
  secretFile: z.string().min(1).optional(),
  engineApiKey: z.string().min(1).optional(),
  replicas: replicasSchema,
  /** Requests that this gate has open at one replica, at most; a hard cap. */
  concurrencyPerReplica: z.number().int().min(1).max(8_192),
  drainMs: z.number().int().min(0).max(3_600_000).default(GATE_DRAIN_MS),
  /** Whether a stream that breaks is cut off where the edge says that it carries it on; else it ends with an error. */
  resumable: z.boolean().default(true),
  /** File for reports that the edge does not have yet; without one, a gate that is killed loses them. */
  journal: z.string().min(1).optional(),
  quiet: z.boolean().default(false),
});

export type GateConfig = Omit<z.infer<typeof fileSchema>, "secrets" | "secretFile"> & {
  /** Version → secret. */
  readonly secrets: ReadonlyMap<number, string>;
};

/** Says what is wrong, one line per mistake. Never holds a secret. */
export class ConfigError extends Error {
  readonly lines: readonly string[];
  constructor(lines: readonly string[]) {
    super(lines.join("\n"));
    this.lines = lines;
  }
}

/** A config as a caller writes it in code or in a file. */
export type GateConfigInput = z.input<typeof fileSchema>;

type Env = Readonly<Record<string, string | undefined>>;

/**
 * The configuration from `--config FILE`, or from the file that MERIDIAN_GATE_CONFIG names (or the JSON that it
 * holds). Secrets: MERIDIAN_GATE_SECRETS (JSON), else `secretFile`, else `secrets`. Throws a ConfigError.
 */
export function loadConfig(args: readonly string[], env: Env): GateConfig {
  const flag = args.indexOf("--config");
  const source = flag >= 0 ? args[flag + 1] : env.MERIDIAN_GATE_CONFIG;
  if (!source) throw new ConfigError(["no configuration: give --config FILE or set MERIDIAN_GATE_CONFIG"]);
  const inline = source.trimStart().startsWith("{");
  const text = inline ? source : readText(source, "the configuration");
  return checkConfig(parseJson(text, inline ? "MERIDIAN_GATE_CONFIG" : source), env);
}

/** Checks a configuration that was read already. Throws a ConfigError. */
export function checkConfig(input: unknown, env: Env = {}): GateConfig {
  const parsed = fileSchema.safeParse(input);
  if (!parsed.success) throw mistakes(parsed.error, "");
  const { secrets, secretFile, ...rest } = parsed.data;
  const given = secretsFrom(env, secretFile, secrets);
  const engineApiKey = env.MERIDIAN_ENGINE_API_KEY ?? rest.engineApiKey;
  const versions = new Map(Object.entries(given).map(([version, secret]) => [Number(version), secret]));
  return { ...rest, ...(engineApiKey === undefined ? {} : { engineApiKey }), secrets: versions };
}

function secretsFrom(env: Env, file: string | undefined, inline: Record<string, string> | undefined) {
  if (env.MERIDIAN_GATE_SECRETS) {
    return checkSecrets(env.MERIDIAN_GATE_SECRETS, "MERIDIAN_GATE_SECRETS");
  }
  if (file !== undefined) return checkSecrets(readText(file, "secretFile"), "secretFile");
  if (inline !== undefined) return inline;
  throw new ConfigError(["secrets: none given; set secrets, secretFile or MERIDIAN_GATE_SECRETS"]);
}

function checkSecrets(text: string, where: string): Record<string, string> {
  const parsed = secretsSchema.safeParse(parseJson(text, where));
  if (!parsed.success) throw mistakes(parsed.error, where);
  return parsed.data;
}

function readText(path: string, what: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new ConfigError([`${what}: cannot read ${path}: ${(error as NodeJS.ErrnoException).code}`]);
  }
}

function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The parser's own message quotes the text, which may hold secrets.
    throw new ConfigError([`${where}: not valid JSON`]);
  }
}

function mistakes(error: z.ZodError, where: string): ConfigError {
  const lines = error.issues.map((issue) => {
    const path = [where, ...issue.path.map(String)].filter((part) => part !== "").join(".");
    return `${path === "" ? "configuration" : path}: ${issue.message}`;
  });
  return new ConfigError(lines);
}
