import { type AdminCalls, adminAt } from "./admin.ts";
import type { Wrangler } from "./wrangler.ts";

/** One deployment on its way: what its steps are given, and what they find out and hand on. */
export interface Deployment {
  readonly wrangler: Wrangler;
  /** One line for the operator. */
  readonly say: (line: string) => void;
  /** Names of the Worker's secrets; null: no such Worker yet. */
  known: string[] | null;
  /** A key that the deployment takes. */
  adminKey: string | null;
  baseUrl: string | null;
  /** Pass Cloudflare Access; empty where it does not stand before the admin API. */
  readonly accessHeaders: Readonly<Record<string, string>>;
}

/** One step. The dry run prints the same list that the real run walks through. */
export interface Step {
  readonly title: string;
  /** What the real run executes, for a person to read. */
  readonly runs: string;
  /** Needs neither login nor network and changes nothing: the dry run does it too. */
  readonly offline: boolean;
  run(deployment: Deployment): Promise<void>;
}

/** The admin API of what is deployed by now. */
export function adminOf({ baseUrl, adminKey, accessHeaders }: Deployment): AdminCalls {
  if (baseUrl === null || adminKey === null) throw new Error("no address or no admin key");
  return adminAt(baseUrl, adminKey, accessHeaders);
}

/** The only place where an admin key is ever shown. */
export function showAdminKey(adminKey: string, say: Deployment["say"]): void {
  say(`admin key: ${adminKey}`);
  say("It is shown only now; the Worker has its hash alone. Keep it in your password store.");
}
