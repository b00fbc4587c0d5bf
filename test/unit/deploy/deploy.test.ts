import { afterEach, describe, expect, it, vi } from "vitest";
import { gateSecretOf } from "./fake-admin.ts";
import type { Account } from "./fake-wrangler.ts";
import { commands, type Ran, Rig, sentSecrets, workerSecrets } from "./rig.ts";

/** `npm run deploy`, with a wrangler in PATH that records what it is told. */

const NAMES = ["ADMIN_KEY_HASHES", "KEY_MAC_SECRETS", "POOL_MASTER_SECRET", "TICKET_SECRET"];
const EVERY_STEP = ["whoami", "deploy --dry-run", "secret list", "secret bulk", "deploy"];

// Each run starts a few processes; a busy machine takes its time for that.
vi.setConfig({ testTimeout: 30_000 });

let rig: Rig;
afterEach(() => rig.close());

async function started(account: Partial<Account> = {}): Promise<Rig> {
  rig = await Rig.start(account);
  return rig;
}

/** What must never be seen: every value that went to wrangler, and each secret inside such a value. */
function hiddenParts(secrets: Record<string, string>): string[] {
  return Object.values(secrets).flatMap((value) => {
    return value.startsWith("{") ? [value, ...Object.values(JSON.parse(value) as object)] : value.split(" ");
  });
}

function expectHidden(ran: Ran, secrets: Record<string, string>): void {
  const argv = ran.calls.flatMap(({ args }) => args).join("\n");
  const env = ran.calls.map((call) => JSON.stringify(call.env)).join("\n");
  for (const part of hiddenParts(secrets)) {
    expect(part.length).toBeGreaterThan(40);
    for (const place of [argv, env, ran.stdout, ran.stderr, rig.leftovers()])
      expect(place).not.toContain(part);
  }
}

function adminKeyShown({ stdout }: Ran): string {
  const shown = [...stdout.matchAll(/admin key: (\S+)/g)];
  expect(shown).toHaveLength(1);
  return shown[0]![1]!;
}

describe("the first deployment", () => {
  it("makes every secret, shows the admin key once and nothing else, and deploys", async () => {
    await started();
    const ran = await rig.deployAlone();
    expect(ran.stderr).toBe("");
    expect(ran.status).toBe(0);
    expect(commands(ran)).toEqual(EVERY_STEP);
    const sent = sentSecrets(ran);
    expect(Object.keys(sent).sort()).toEqual(NAMES);
    expectHidden(ran, sent);
    const key = adminKeyShown(ran);
    expect(JSON.stringify(ran.calls)).not.toContain(key);
    const secrets = await workerSecrets(sent);
    expect(await secrets.isAdmin(key)).toBe(true);
    expect(secrets.newestMacVersion).toBe("1");
  });

  it("registers what --config names and shows each new pool's gate secret once", async () => {
    await started();
    const file = rig.config({ models: [{ id: "llama" }], pools: [POOL], tenants: [TENANT] });
    const ran = await rig.deploy(["--config", file]);
    expect(ran.stderr).toBe("");
    expect(rig.admin.changes).toEqual([
      { method: "POST", path: "models", body: { id: "llama" } },
      { method: "POST", path: "pools", body: POOL },
      { method: "POST", path: "tenants", body: TENANT },
    ]);
    expect(ran.stdout.split(gateSecretOf("pools/us-east").gateSecret)).toHaveLength(2);
  });

  it("uses an admin key that the operator brings, and does not show it", async () => {
    await started();
    const key = "a-key-from-the-password-store";
    const ran = await rig.deploy([], { MERIDIAN_ADMIN_KEY: key });
    expect(ran.status).toBe(0);
    expect(ran.stdout + ran.stderr + JSON.stringify(ran.calls)).not.toContain(key);
    expect(await (await workerSecrets(sentSecrets(ran))).isAdmin(key)).toBe(true);
  });
});

describe("a later deployment", () => {
  const key = "mra_an-admin-key-of-before";
  const hash = "q3Vq4R9WZkQm2kM3vM2nQp9r3VYwD8X0c1e5t7u9y2A";

  it("leaves the secrets alone", async () => {
    await started({ secrets: Object.fromEntries(NAMES.map((name) => [name, hash])) });
    const ran = await rig.deploy();
    expect(ran.status).toBe(0);
    expect(commands(ran)).toEqual(["whoami", "deploy --dry-run", "secret list", "deploy"]);
    expect(ran.stdout).not.toContain("admin key:");
  });

  it("goes to the address that the operator names", async () => {
    await started({ targets: ["example.net/v1/*"] });
    const file = rig.config({ models: [{ id: "llama" }] });
    const lost = await rig.deploy(["--config", file], { MERIDIAN_ADMIN_KEY: key });
    expect(lost.stderr).toContain("run this again with --url");
    const found = await rig.deploy(["--config", file, "--url", rig.admin.url], { MERIDIAN_ADMIN_KEY: key });
    expect(found.stderr).toBe("");
    expect(commands(found)).toContain("deploy");
    expect(rig.admin.changes).toHaveLength(1);
  });

  it("makes only what is missing", async () => {
    await started({ secrets: { KEY_MAC_SECRETS: hash, ADMIN_KEY_HASHES: hash, POOL_MASTER_SECRET: hash } });
    const ran = await rig.deploy();
    expect(Object.keys(sentSecrets(ran))).toEqual(["TICKET_SECRET"]);
    expectHidden(ran, sentSecrets(ran));
  });

  it("changes what differs, under the version that was read, and nothing else", async () => {
    await started();
    const withDefaults = { ...POOL, models: [{ model: "llama" }] };
    const config = { models: [{ id: "llama" }], pools: [withDefaults], tenants: [TENANT] };
    const keys = { MERIDIAN_ADMIN_KEY: key };
    await rig.deploy(["--config", rig.config(config)], keys);
    const made = rig.admin.changes.length;
    expect((await rig.deploy(["--config", rig.config(config)], keys)).stderr).toBe("");
    expect(rig.admin.changes).toHaveLength(made);
    const drained = { ...config, pools: [{ ...withDefaults, drained: true }] };
    const ran = await rig.deploy(["--config", rig.config(drained)], keys);
    expect(ran.stderr).toBe("");
    expect(rig.admin.changes.slice(made)).toEqual([
      { method: "PATCH", path: "pools/us-east", body: { drained: true } },
    ]);
    expect(ran.stdout).not.toContain("GATE_SECRETS");
  });

  it("does not take 'cannot tell' for 'no secrets'", async () => {
    await started({ secrets: {}, failing: { "secret list": "A request to the Cloudflare API failed." } });
    const ran = await rig.deploy();
    expect(ran.status).toBe(1);
    expect(ran.stderr).toContain("A request to the Cloudflare API failed.");
    expect(commands(ran)).not.toContain("secret bulk");
  });

  it("asks for the admin key before it changes anything", async () => {
    await started({ secrets: Object.fromEntries(NAMES.map((name) => [name, hash])) });
    const ran = await rig.deploy(["--config", rig.config({ models: [] })]);
    expect(ran.status).toBe(1);
    expect(ran.stderr).toBe(
      "deploy: set MERIDIAN_ADMIN_KEY to an admin key of this deployment: it is needed for that\n",
    );
    expect(commands(ran)).not.toContain("deploy");
  });
});

describe("a rotation", () => {
  it("adds an admin key beside the one in use; then ends the old one", async () => {
    await started();
    const old = adminKeyShown(await rig.deploy());
    const rotated = await rig.deploy(["--rotate-admin-key"], { MERIDIAN_ADMIN_KEY: old });
    expect(rotated.stderr).toBe("");
    const fresh = adminKeyShown(rotated);
    expect(rotated.stdout).not.toContain(old);
    expect(JSON.stringify(rotated.calls)).not.toContain(fresh);
    expect(await adminsAmong(old, fresh)).toEqual([true, true]);
    await rig.deploy(["--end-old-admin-keys"], { MERIDIAN_ADMIN_KEY: fresh });
    expect(await adminsAmong(old, fresh)).toEqual([false, true]);
  });

  it("locks nobody out with a key that is not one, and replaces one that was lost", async () => {
    await started();
    const old = adminKeyShown(await rig.deploy());
    const refused = await rig.deploy(["--rotate-admin-key"], { MERIDIAN_ADMIN_KEY: `${old}x` });
    expect(refused.stderr).toContain("does not take MERIDIAN_ADMIN_KEY: nothing was changed");
    expect(await adminsAmong(old)).toEqual([true]);
    const fresh = adminKeyShown(await rig.deploy(["--replace-admin-key"]));
    expect(await adminsAmong(old, fresh)).toEqual([false, true]);
  });

  it("adds a version of the key MAC, which signs from then on while the one before still verifies", async () => {
    await started();
    await rig.deploy();
    const ran = await rig.deploy(["--rotate-key-mac"]);
    expect(Object.keys(sentSecrets(ran))).toEqual(["KEY_MAC_SECRETS_2"]);
    expectHidden(ran, sentSecrets(ran));
    const again = await rig.deploy(["--rotate-key-mac"]);
    expect(Object.keys(sentSecrets(again))).toEqual(["KEY_MAC_SECRETS_3"]);
    const secrets = await workerSecrets(rig.account.secrets);
    expect([...secrets.macKeys.keys()].sort()).toEqual(["1", "2", "3"]);
    expect(secrets.newestMacVersion).toBe("3");
  });

  async function adminsAmong(...keys: string[]): Promise<boolean[]> {
    const { isAdmin } = await workerSecrets(rig.account.secrets);
    return Promise.all(keys.map(isAdmin));
  }
});

describe("what cannot be deployed", () => {
  it("says how to log in", async () => {
    await started({ loggedIn: false });
    const ran = await rig.deployAlone();
    expect(ran.status).toBe(1);
    expect(ran.stderr).toBe(
      "deploy: not logged in to Cloudflare: run 'npx wrangler login', or set CLOUDFLARE_API_TOKEN, and start again\n",
    );
    expect(commands(ran)).toEqual(["whoami"]);
  });

  it("asks which of several accounts is meant", async () => {
    const accounts = [
      { id: "1", name: "Mine" },
      { id: "2", name: "Yours" },
    ];
    await started({ accounts });
    const ran = await rig.deploy();
    expect(ran.stderr).toContain("set CLOUDFLARE_ACCOUNT_ID to one of\n  1  Mine\n  2  Yours");
    expect((await rig.deploy([], { CLOUDFLARE_ACCOUNT_ID: "2" })).stdout).toContain("for Yours");
  });

  it("stops at a mistake in the bundle before it sets or uploads anything", async () => {
    await started({ exports: ["Directory", "RegionPool", "TenantBudget", "default"] });
    const ran = await rig.deploy();
    expect(ran.status).toBe(1);
    expect(ran.stderr).toContain("REGISTRY: the Worker does not export the class Registry");
    expect(commands(ran)).toEqual(["whoami", "deploy --dry-run"]);
  });

  it("shows what wrangler said, and no secret, when setting secrets fails", async () => {
    await started({ failing: { "secret bulk": "Authentication error [code: 10000]" } });
    const ran = await rig.deploy();
    expect(ran.status).toBe(1);
    expect(ran.stderr).toContain("secret bulk: wrangler ended with status 1:\n  Authentication error");
    expectHidden(ran, sentSecrets(ran));
    expect(ran.stdout).not.toContain("admin key:");
  });

  it("names the field that is wrong in a deploy file", async () => {
    await started();
    const ran = await rig.deploy(["--config", rig.config({ models: [{ id: "llama", kind: "chat" }] })]);
    expect(ran.stderr).toMatch(/deploy\.json: models\.0\.kind: /);
    expect(ran.calls).toEqual([]);
  });
});

describe("the dry run", () => {
  it("calls wrangler for its dry run only, and prints every step", async () => {
    await started({ loggedIn: false });
    const file = rig.config({ models: [{ id: "llama" }] });
    const ran = await rig.deploy(["--dry-run", "--config", file, "--rotate-key-mac"]);
    expect(ran.stderr).toBe("");
    expect(ran.status).toBe(0);
    expect(commands(ran)).toEqual(["deploy --dry-run"]);
    for (const command of ["whoami", "secret list", "secret bulk", "deploy, then GET", "GET, then POST"]) {
      expect(ran.stdout).toMatch(new RegExp(`would run: .*${command}`));
    }
    expect(rig.account.secrets).toBeNull();
  });

  it("fails on a mistake", async () => {
    await started({ exports: ["default"] });
    const ran = await rig.deploy(["--dry-run"]);
    expect(ran.status).toBe(1);
    expect(ran.stderr).toContain("TENANT_BUDGET: the Worker does not export the class TenantBudget");
    expect(ran.stdout).not.toContain("no mistake");
  });
});

const POOL = {
  id: "us-east",
  region: "us-east",
  position: { latitude: 39, longitude: -77.5 },
  hint: "enam",
  gates: ["https://gate.example.net"],
  models: [{ model: "llama", concurrencyPerReplica: 10 }],
};
const TENANT = { id: "acme", name: "Acme", homeHint: "weur" };
