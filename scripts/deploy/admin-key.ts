import { adminAt } from "./admin.ts";
import { takesAdminKey, untilKeyTaken } from "./live.ts";
import { hashOf, newAdminKey } from "./secrets.ts";
import { type Step, showAdminKey } from "./step.ts";
import { DeployError, putSecrets } from "./wrangler.ts";

export const ADMIN_KEY_CHANGES = ["rotate-admin-key", "end-old-admin-keys", "replace-admin-key"] as const;
/**
 * - rotate: a second key; MERIDIAN_ADMIN_KEY keeps working, so that whoever uses it can change over
 * - end old: MERIDIAN_ADMIN_KEY alone keeps working
 * - replace: a new key alone works; for a key that was lost or stolen
 */
export type AdminKeyChange = (typeof ADMIN_KEY_CHANGES)[number];

const TITLES: Readonly<Record<AdminKeyChange, string>> = {
  "rotate-admin-key": "add an admin key; MERIDIAN_ADMIN_KEY keeps working",
  "end-old-admin-keys": "end every admin key but MERIDIAN_ADMIN_KEY",
  "replace-admin-key": "make a new admin key and end all others",
};

/**
 * Comes after the deployment, since hashes cannot be read back: a key that is to stay is asked of the running Worker
 * first, so that a slip of the pen locks nobody out.
 */
export function adminKeyStep(change: AdminKeyChange): Step {
  return {
    title: TITLES[change],
    runs: "wrangler secret bulk   (ADMIN_KEY_HASHES, on its standard input)",
    offline: false,
    async run(deployment) {
      const { wrangler, say, baseUrl, adminKey: kept, accessHeaders } = deployment;
      if (baseUrl === null) throw new Error("no address");
      const as = (key: string) => adminAt(baseUrl, key, accessHeaders);
      const made = change === "end-old-admin-keys" ? null : newAdminKey();
      if (change !== "replace-admin-key") {
        if (kept === null || !(await takesAdminKey(as(kept)))) {
          throw new DeployError("the deployment does not take MERIDIAN_ADMIN_KEY: nothing was changed");
        }
      }
      const valid = change === "replace-admin-key" ? [made] : [kept, made];
      const hashes = valid.filter((key) => key !== null).map(hashOf);
      await putSecrets(wrangler, { ADMIN_KEY_HASHES: hashes.join(" ") });
      say(`set: ADMIN_KEY_HASHES; ${hashes.length === 1 ? "one key works" : "two keys work"} from now on`);
      if (made === null) return;
      showAdminKey(made, say);
      await untilKeyTaken(as(made));
      deployment.adminKey = made;
    },
  };
}
