import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { readSettings } from "../../../scripts/deploy/settings.ts";
import { GENERATED } from "../../../scripts/deploy/wrangler-config.ts";
import { ACCESS, API_TOKEN, CloudRig, edgeOutputs, POOL } from "./cloud-rig.ts";
import { gateSecretOf } from "./fake-admin.ts";
import { commands, type Ran, sentSecrets } from "./rig.ts";

/** `npm run deploy -- --terraform`, with wrangler, terraform and aws in PATH that record what they are told. */

vi.setConfig({ testTimeout: 60_000 });

let rig: CloudRig;
afterEach(() => rig.close());

const FRA_TUNNEL = "11111111-0000-0000-0000-000000000000";
const IAD_TUNNEL = "22222222-0000-0000-0000-000000000000";
const FRA_SECRET = "eu-central-1 /meridian/fra/gate-secrets";
const FRA_TOKEN = "eu-central-1 /meridian/fra/tunnel-token";
const IAD_TOKEN = "us-east-1 /prod/us/tunnel";
const KEY = "an-admin-key-from-the-password-store";

async function started(): Promise<CloudRig> {
  rig = await CloudRig.start();
  return rig;
}

/** One of the rotations of the pool. */
const changing = (flag: string) =>
  rig.deploy(["--terraform", rig.edge, flag, "fra-1"], { MERIDIAN_ADMIN_KEY: KEY });

const both = () => ["--terraform", rig.edge, "--terraform", rig.fra];

/** No secret is in an argument, in what is printed, in another program's environment or left on the disk. */
function expectHidden(ran: Ran, secrets: readonly string[]): void {
  const argv = [...ran.calls, ...rig.calls].flatMap(({ args }) => args).join("\n");
  const env = [...ran.calls, ...rig.calls].map((call) => JSON.stringify(call.env)).join("\n");
  const places = { argv, env, stdout: ran.stdout, stderr: ran.stderr, disk: rig.rig.leftovers() };
  for (const [place, text] of Object.entries(places)) {
    for (const secret of secrets)
      expect({ place, found: text.includes(secret) }).toEqual({ place, found: false });
  }
  expect(readFileSync(GENERATED, "utf8")).not.toContain(ACCESS["cf-access-client-secret"]);
}

describe("the first deployment with a region", () => {
  it("binds the domain, puts every secret into its parameter and nowhere else, and registers the pool", async () => {
    await started();
    const ran = await rig.deploy(both(), { MERIDIAN_ADMIN_KEY: KEY });
    expect(ran.stderr).toBe("");
    expect(rig.rig.admin.changes).toEqual([
      { method: "POST", path: "models", body: { id: "llama" } },
      { method: "POST", path: "pools", body: { ...POOL, gates: ["https://gate-fra.example.net"] } },
    ]);
    const { gateSecret } = gateSecretOf("pools/fra-1");
    expect(JSON.parse(rig.parameter(FRA_SECRET)!)).toEqual({ 1: gateSecret });
    expect(rig.parameter(FRA_TOKEN)).toBe(rig.tokenOf(FRA_TUNNEL));
    expect(rig.cloud.parameters[IAD_TOKEN]).toMatchObject({
      Value: rig.tokenOf(IAD_TUNNEL),
      KeyId: "alias/meridian",
    });
    const sent = Object.values(sentSecrets(ran));
    const tokens = [rig.tokenOf(FRA_TUNNEL), rig.tokenOf(IAD_TUNNEL)];
    expectHidden(ran, [gateSecret, ...tokens, ...sent, ACCESS["cf-access-client-secret"], KEY]);
  });

  it("gives aws and terraform neither the admin key nor Cloudflare's", async () => {
    await started();
    await rig.deploy(both(), { MERIDIAN_ADMIN_KEY: KEY });
    expect(rig.calls.length).toBeGreaterThan(5);
    for (const { env } of rig.calls) {
      expect(Object.values(env)).not.toContain(KEY);
      expect(Object.values(env)).not.toContain(API_TOKEN);
    }
  });

  it("deploys what wrangler.toml says, under Terraform's names and with no address past Access", async () => {
    await started();
    const ran = await rig.deploy(both());
    for (const { args } of ran.calls) expect(args.slice(-2)).toEqual(["--config", GENERATED]);
    const text = readFileSync(GENERATED, "utf8");
    expect(text).toContain('routes = [{ pattern = "llm.example.net", custom_domain = true }]');
    expect(text).toContain("workers_dev = false\npreview_urls = false\n");
    const { accountId, ...rest } = readSettings(GENERATED);
    expect(accountId).toBe("0123456789abcdef0123456789abcdef");
    expect({ ...rest, accountId: null }).toEqual(readSettings());
  });

  it("binds no domain that Terraform binds, and what else it made", async () => {
    await started();
    const change = {
      custom_domains: [],
      kv_namespaces: { CACHE: "kv-id" },
      logpush: true,
      worker_name: "other",
    };
    rig.set({ outputs: { [rig.edge]: edgeOutputs(change) } });
    expect((await rig.deploy(["--terraform", rig.edge])).stderr).toBe("");
    const text = readFileSync(GENERATED, "utf8");
    expect(text).not.toContain("routes");
    expect(text).toContain("logpush = true");
    expect(text).toContain('[[kv_namespaces]]\nbinding = "CACHE"\nid = "kv-id"\n');
    expect(readSettings(GENERATED).name).toBe("other");
  });

  it("sets Redis' secrets by wrangler's standard input", async () => {
    await started();
    const redis = {
      rest_url: "https://eu1-example.upstash.example",
      rest_token: "the-rest-token-of-upstash",
    };
    rig.set({ outputs: { ...rig.cloud.outputs, [rig.fra]: { redis: { value: redis, sensitive: true } } } });
    const ran = await rig.deploy(both(), { MERIDIAN_ADMIN_KEY: KEY });
    expect(sentSecrets(ran)).toMatchObject({
      UPSTASH_REDIS_REST_URL: redis.rest_url,
      UPSTASH_REDIS_REST_TOKEN: redis.rest_token,
    });
    expectHidden(ran, [redis.rest_token]);
  });
});

describe("a later deployment", () => {
  it("changes nothing that is as it should be", async () => {
    await started();
    await rig.deploy(both(), { MERIDIAN_ADMIN_KEY: KEY });
    const writes = () => rig.calls.filter(({ args }) => args[1] === "put-parameter").length;
    const [before, written] = [rig.rig.admin.changes.length, writes()];
    const ran = await rig.deploy(both(), { MERIDIAN_ADMIN_KEY: KEY });
    expect(ran.stderr).toBe("");
    expect(rig.rig.admin.changes.slice(before)).toEqual([]);
    expect(writes()).toBe(written);
  });

  it("takes pools as a map and a list, from a file as from a folder", async () => {
    await started();
    const second = { ...POOL, id: "iad-1", region: "iad", gates: ["gpu-us.example.net"] };
    const file = join(rig.rig.folder, "pools.json");
    writeFileSync(file, JSON.stringify({ pools: { value: { fra: POOL, iad: second } } }));
    const ran = await rig.deploy(["--terraform", rig.edge, "--terraform", file], { MERIDIAN_ADMIN_KEY: KEY });
    expect(ran.stderr).toBe("");
    expect(rig.parameter("us-east-1 /prod/us/gate")).toContain(gateSecretOf("pools/iad-1").gateSecret);
    writeFileSync(file, JSON.stringify({ pools: { value: [POOL, second] } }));
    const again = await rig.deploy(["--terraform", rig.edge, "--terraform", file], {
      MERIDIAN_ADMIN_KEY: KEY,
    });
    expect(again.stdout).toContain("pools iad-1: unchanged");
  });
});

describe("a rotation", () => {
  it("of a gate's secret puts both into the parameter, then the new one alone", async () => {
    await started();
    await rig.deploy(both(), { MERIDIAN_ADMIN_KEY: KEY });
    const [first, second] = [1, 2].map((version) => gateSecretOf("pools/fra-1", version).gateSecret);
    const rotated = await changing("--rotate-gate-secret");
    expect(rotated.stderr).toBe("");
    expect(JSON.parse(rig.parameter(FRA_SECRET)!)).toEqual({ 1: first, 2: second });
    const twice = await changing("--rotate-gate-secret");
    expect(twice.stderr).toContain("a rotation is under way");
    const ended = await changing("--end-gate-rotation");
    expect(ended.stderr).toBe("");
    expect(JSON.parse(rig.parameter(FRA_SECRET)!)).toEqual({ 2: second });
    for (const ran of [rotated, ended]) expectHidden(ran, [first!, second!]);
  });

  it("of a tunnel's token makes another and puts it away", async () => {
    await started();
    await rig.deploy(both(), { MERIDIAN_ADMIN_KEY: KEY });
    const [fra, iad] = [FRA_TOKEN, IAD_TOKEN].map((at) => rig.parameter(at));
    const ran = await rig.deploy(["--terraform", rig.edge, "--rotate-tunnel-token", "fra"]);
    expect(ran.stderr).toBe("");
    expect(rig.parameter(FRA_TOKEN)).toBe(rig.tokenOf(FRA_TUNNEL));
    expect(rig.parameter(FRA_TOKEN)).not.toBe(fra);
    expect(rig.parameter(IAD_TOKEN)).toBe(iad);
    expectHidden(ran, [rig.tokenOf(FRA_TUNNEL)]);
  });

  it("is not begun when the parameter lacks the secret that signs", async () => {
    await started();
    await rig.deploy(both(), { MERIDIAN_ADMIN_KEY: KEY });
    rig.set({ parameters: { [FRA_SECRET]: { Value: "{}" } } });
    const changes = rig.rig.admin.changes.length;
    const ran = await changing("--rotate-gate-secret");
    expect(ran.stderr).toContain("does not hold version 1, which signs now: nothing was changed");
    expect(rig.rig.admin.changes).toHaveLength(changes);
  });
});

describe("what cannot be deployed", () => {
  it("stops before anything is changed without AWS or Cloudflare's API", async () => {
    await started();
    rig.set({ loggedIn: false });
    const ran = await rig.deploy(both());
    expect(ran.stderr).toContain("aws: nobody is logged in:\n  Unable to locate credentials");
    const without = await rig.deploy(both(), { CLOUDFLARE_API_TOKEN: "" });
    expect(without.stderr).toContain("set CLOUDFLARE_API_TOKEN");
    for (const { calls } of [ran, without]) expect(calls.map(({ args }) => args[0])).toEqual(["whoami"]);
  });

  it("makes no pool whose secret it cannot put away", async () => {
    await started();
    rig.set({ parameters: { [FRA_TOKEN]: { Value: rig.tokenOf(FRA_TUNNEL) } } });
    rig.set({
      parameters: {
        ...rig.cloud.parameters,
        [IAD_TOKEN]: { Value: rig.tokenOf(IAD_TUNNEL) },
      },
    });
    rig.set({ failingWrites: 3 });
    const ran = await rig.deploy(both(), { MERIDIAN_ADMIN_KEY: KEY });
    expect(ran.stderr).toContain("eu-central-1 /meridian/fra/gate-secrets: aws ended with status 254");
    expect(rig.rig.admin.changes).toEqual([]);
  });

  it("outlives two bad moments, and quotes no secret of the third", async () => {
    await started();
    rig.set({ failingWrites: 2 });
    expect((await rig.deploy(["--terraform", rig.edge])).stderr).toBe("");
    rig.set({ failingWrites: 3, parameters: {} });
    const ran = await rig.deploy(["--terraform", rig.edge], { MERIDIAN_ADMIN_KEY: KEY });
    expect(ran.stderr).toContain("Rate exceeded for …");
    expectHidden(ran, [rig.tokenOf(FRA_TUNNEL)]);
  });

  it("says what Access says", async () => {
    await started();
    rig.rig.admin.access = { ...ACCESS, "cf-access-client-secret": "another" };
    const late = rig.deploy(both(), { MERIDIAN_ADMIN_KEY: KEY });
    vi.spyOn(Date, "now").mockImplementation(steppingClock());
    const ran = await late.finally(() => vi.restoreAllMocks());
    expect(ran.stderr).toContain("Cloudflare Access answered 403: it does not take the service token");
  });

  it.each([
    [
      "a pool that no tunnel leads to",
      { pool: { value: { ...POOL, gates: ["gate.elsewhere.example"] } } },
      "none of its gates is a tunnel",
    ],
    [
      "a pool with a field that nobody knows",
      { pool: { value: { ...POOL, colour: "red" } } },
      "pool: top level: Unrecognized key",
    ],
    ["a root that is not applied", {}, "no output is one of deploy, redis, pool and pools; was it applied?"],
    ["a second edge", { deploy: { value: edgeOutputs().deploy!.value } }, "a second edge"],
  ])("refuses %s", async (_, outputs, message) => {
    await started();
    rig.set({ outputs: { ...rig.cloud.outputs, [rig.fra]: outputs } });
    const ran = await rig.deploy(both(), { MERIDIAN_ADMIN_KEY: KEY });
    expect(ran.stderr).toContain(message);
    expect(rig.rig.admin.changes).toEqual([]);
  });

  it("refuses a contract of another version, another account, and flags without it", async () => {
    await started();
    const other = await rig.deploy(both(), { CLOUDFLARE_ACCOUNT_ID: "ffffffffffffffffffffffffffffffff" });
    expect(other.stderr).toContain("another account than Terraform's");
    rig.set({ outputs: { [rig.edge]: edgeOutputs({ contract: 2 }) } });
    expect((await rig.deploy(["--terraform", rig.edge])).stderr).toContain("output deploy: contract: ");
    expect((await rig.deploy(["--rotate-gate-secret", "fra-1"])).stderr).toContain(
      "needs --terraform infra/edge",
    );
    const secret = join(rig.rig.folder, "broken.json");
    writeFileSync(secret, '{"deploy": {"value": "a-secret-in-broken-json"');
    const broken = await rig.deploy(["--terraform", secret]);
    expect(broken.stderr).toContain("this is not what 'terraform output -json' writes");
    expect(broken.stderr).not.toContain("a-secret-in-broken-json");
  });
});

describe("the dry run", () => {
  it("works from a file with the outputs, offline, and changes nothing", async () => {
    await started();
    const file = join(rig.rig.folder, "deploy.json");
    writeFileSync(file, JSON.stringify({ ...edgeOutputs(), pool: { value: POOL } }));
    const ran = await rig.deploy(["--dry-run", "--terraform", file], { CLOUDFLARE_API_TOKEN: "" });
    expect(ran.stderr).toBe("");
    expect(commands(ran)).toEqual(["deploy --dry-run"]);
    expect(rig.calls).toEqual([]);
    expect(rig.tunnelCalls).toEqual([]);
    expect(ran.stdout).toContain("region fra: https://gate-fra.example.net, secrets in eu-central-1");
    expect(ran.stdout).toContain("would run: aws sts get-caller-identity");
    expect(ran.stdout).toContain("would run: aws ssm get-parameter, then put-parameter");
    expect(ran.stdout).toContain("register models (1), pools (1), tenants (0)");
    expectHidden(ran, [ACCESS["cf-access-client-secret"]]);
  });
});

/** A clock in which every look takes longer than any wait: it ends at once. */
function steppingClock(): () => number {
  let nowMs = 0;
  return () => {
    nowMs += 10 * 60_000;
    return nowMs;
  };
}
