import { randomBytes } from "node:crypto";
import { DeployError } from "./wrangler.ts";

/** Cloudflare's API as far as tunnels need it. The token never goes through Terraform, whose state would keep it. */
export interface Tunnels {
  /** What cloudflared is given to connect as this tunnel. */
  token(tunnelId: string): Promise<string>;
  /** A new secret; connections of the old one last until their connector restarts. */
  rotate(tunnelId: string): Promise<void>;
}

const CALL_TIMEOUT_MS = 30_000;

type Env = Readonly<Record<string, string | undefined>>;

/** `CLOUDFLARE_API_BASE_URL` is wrangler's own variable for another address. Throws when there is no API token. */
export function tunnelsIn(env: Env, accountId: string): Tunnels {
  const base = env.CLOUDFLARE_API_BASE_URL ?? "https://api.cloudflare.com/client/v4";
  const apiToken = env.CLOUDFLARE_API_TOKEN;
  if (!apiToken) {
    throw new DeployError(
      "set CLOUDFLARE_API_TOKEN (Cloudflare Tunnel: Edit): the tunnels' tokens are fetched with it, " +
        "and wrangler's own login may not do that",
    );
  }
  const call = async (method: "GET" | "PATCH", path: string, body?: object): Promise<unknown> => {
    const response = await fetch(`${base}/accounts/${accountId}/cfd_tunnel/${path}`, {
      method,
      headers: { authorization: `Bearer ${apiToken}`, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
    });
    const answer = (await response.json().catch(() => null)) as Answer | null;
    if (response.ok && answer?.success === true) return answer.result;
    const why = (answer?.errors ?? []).map(({ code, message }) => `${code} ${message}`).join("; ");
    throw new DeployError(`tunnel ${path.split("/")[0]}: Cloudflare answered ${response.status} ${why}`);
  };
  return {
    async token(tunnelId) {
      const token = await call("GET", `${tunnelId}/token`);
      if (typeof token === "string" && token.length >= 32) return token;
      throw new DeployError(`tunnel ${tunnelId}: Cloudflare's answer holds no token`);
    },
    async rotate(tunnelId) {
      // At least 32 bytes in base64, says Cloudflare's API.
      await call("PATCH", tunnelId, { tunnel_secret: randomBytes(32).toString("base64") });
    },
  };
}

interface Answer {
  readonly success: boolean;
  readonly result: unknown;
  readonly errors?: readonly { readonly code: number; readonly message: string }[];
}
