import { z } from "zod";
import { CLOUD_CALL_TIMEOUT_MS, CREDENTIALS_RENEW_MS } from "./bounds.ts";
import type { Credentials } from "./discovery-sigv4.ts";

type Env = Readonly<Record<string, string | undefined>>;
export type Fetch = (url: URL, init: RequestInit) => Promise<Response>;

/** Gives credentials that are valid now. Rejects when there are none. */
export type CredentialSource = (nowMs: number) => Promise<Credentials>;

const roleSchema = z.object({
  AccessKeyId: z.string().min(1),
  SecretAccessKey: z.string().min(1),
  Token: z.string().min(1),
  Expiration: z.iso.datetime(),
});

/** The environment's, else those of the machine's role by the instance metadata service (IMDSv2 alone). */
export function credentialSource(env: Env, fetch: Fetch): CredentialSource {
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey } = env;
  if (accessKeyId && secretAccessKey) {
    const given = { accessKeyId, secretAccessKey, sessionToken: env.AWS_SESSION_TOKEN || null };
    return async () => given;
  }
  const base = env.AWS_EC2_METADATA_SERVICE_ENDPOINT || "http://169.254.169.254";
  return roleCredentials(new URL(base), fetch);
}

interface Held {
  readonly credentials: Credentials;
  readonly endsAtMs: number;
}

function roleCredentials(base: URL, fetch: Fetch): CredentialSource {
  let held: Held | null = null;
  return async (nowMs) => {
    if (held !== null && nowMs < held.endsAtMs - CREDENTIALS_RENEW_MS) return held.credentials;
    try {
      held = await askMetadata(base, fetch);
    } catch (error) {
      // Renewed early, so that a bad moment of the metadata service costs nothing.
      if (held === null || nowMs >= held.endsAtMs) throw error;
    }
    return held.credentials;
  };
}

const PATH = "latest/meta-data/iam/security-credentials/";

async function askMetadata(base: URL, fetch: Fetch): Promise<Held> {
  const ask = async (method: "GET" | "PUT", path: string, headers: Record<string, string>) => {
    const signal = AbortSignal.timeout(CLOUD_CALL_TIMEOUT_MS);
    const response = await fetch(new URL(path, base), { method, headers, signal, redirect: "error" });
    const text = await response.text();
    if (!response.ok) throw new CloudError(`metadata_${response.status}`);
    return text;
  };
  const ttl = { "x-aws-ec2-metadata-token-ttl-seconds": "60" };
  const token = { "x-aws-ec2-metadata-token": await ask("PUT", "latest/api/token", ttl) };
  const role = (await ask("GET", PATH, token)).split("\n")[0]!.trim();
  if (!/^[\w+=,.@-]+$/.test(role)) throw new CloudError("metadata_no_role");
  const answer = roleSchema.safeParse(jsonIn(await ask("GET", PATH + role, token)));
  if (!answer.success) throw new CloudError("metadata_malformed");
  const { AccessKeyId, SecretAccessKey, Token, Expiration } = answer.data;
  return {
    credentials: { accessKeyId: AccessKeyId, secretAccessKey: SecretAccessKey, sessionToken: Token },
    endsAtMs: Date.parse(Expiration),
  };
}

/** The cloud could not be asked, or refused. `code` stands in the log and holds no secret. */
export class CloudError extends Error {
  readonly code: string;
  constructor(code: string) {
    super(code);
    this.code = code;
  }
}

function jsonIn(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
