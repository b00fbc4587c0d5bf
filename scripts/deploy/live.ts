import type { AdminCalls } from "./admin.ts";
import { DeployError } from "./wrangler.ts";

/** A new workers.dev name takes a while until every resolver knows it. */
const LIVE_WITHIN_MS = 120_000;
const ASK_EVERY_MS = 1_000;

/**
 * The address among wrangler's `targets` under which the admin API can be reached: an URL, else a custom domain. A
 * route such as `example.com/v1/*` is none: /admin may lead elsewhere.
 */
export function baseUrlAmong(targets: readonly string[]): string | null {
  const url = targets.find((target) => /^https?:\/\//.test(target));
  if (url !== undefined) return url.replace(/\/+$/, "");
  const domain = targets.find((target) => target.includes("(custom domain"));
  return domain === undefined ? null : `https://${domain.split(" ")[0]}`;
}

/** Waits until the Worker answers. */
export async function untilLive(baseUrl: string): Promise<void> {
  await until(
    async () => (await fetch(`${baseUrl}/health`, { signal: AbortSignal.timeout(10_000) })).ok,
    `${baseUrl}/health does not answer`,
  );
}

/** True when the deployment takes the key that these calls carry. */
export async function takesAdminKey(admin: AdminCalls): Promise<boolean> {
  const { status } = await admin.call("GET", "tenants?limit=1");
  if (status === 200) return true;
  if (status === 401 || status === 403) return false;
  throw new DeployError(`the admin API answered ${status} instead of telling whether the key is right`);
}

/** Waits until a key that was just set is in force. */
export async function untilKeyTaken(admin: AdminCalls): Promise<void> {
  await until(() => takesAdminKey(admin), "the deployment does not take the admin key");
}

async function until(holds: () => Promise<boolean>, complaint: string): Promise<void> {
  const untilMs = Date.now() + LIVE_WITHIN_MS;
  for (;;) {
    const last = await holds().catch((error: unknown) => error);
    if (last === true) return;
    if (Date.now() + ASK_EVERY_MS > untilMs) {
      const why = last instanceof Error ? ` (${last.message})` : "";
      throw new DeployError(`${complaint} within ${LIVE_WITHIN_MS / 1_000} s${why}`);
    }
    await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
  }
}
