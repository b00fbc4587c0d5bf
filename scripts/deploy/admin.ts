import { AdminClient } from "../../sim/stack/admin.ts";
import { DeployError } from "./wrangler.ts";

export type AdminCalls = Pick<AdminClient, "call">;

const CALL_TIMEOUT_MS = 15_000;

/** The admin API of a deployment; `accessHeaders` pass Cloudflare Access where that stands before it. */
export function adminAt(
  baseUrl: string,
  adminKey: string,
  accessHeaders: Readonly<Record<string, string>>,
): AdminCalls {
  if (Object.keys(accessHeaders).length === 0) return new AdminClient(baseUrl, adminKey);
  return {
    async call(method, path, body, version) {
      const response = await fetch(`${baseUrl}/admin/v1/${path}`, {
        method,
        // Access would send whom it does not know to a page where a person signs in.
        redirect: "manual",
        headers: {
          ...accessHeaders,
          authorization: `Bearer ${adminKey}`,
          ...(body === undefined ? {} : { "content-type": "application/json" }),
          ...(version === undefined ? {} : { "if-match": version }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
      });
      const text = await response.text();
      if (response.status >= 300 && response.status < 400) {
        throw new DeployError(
          "Cloudflare Access does not take the service token; it may be new: try again in a minute",
        );
      }
      const known = jsonIn(text);
      if (known === null && (response.status === 401 || response.status === 403)) {
        throw new DeployError(
          `Cloudflare Access answered ${response.status}: it does not take the service token`,
        );
      }
      return { status: response.status, body: known, version: response.headers.get("etag") };
    },
  };
}

/** Access answers a wrong token with a page. */
function jsonIn(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
