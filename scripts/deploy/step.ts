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

/** The only place where an admin key is ever shown. */
export function showAdminKey(adminKey: string, say: Deployment["say"]): void {
  say(`admin key: ${adminKey}`);
  say("It is shown only now; the Worker has its hash alone. Keep it in your password store.");
}
