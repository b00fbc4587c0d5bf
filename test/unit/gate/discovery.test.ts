import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { REPLICA_POLL_MS } from "../../../src/bounds.ts";
import { CREDENTIALS_RENEW_MS, UNSEEN_REPLICA_KEPT_MS } from "../../../src/gate/bounds.ts";
import { checkConfig } from "../../../src/gate/config.ts";
import { awsDiscovery } from "../../../src/gate/discovery-aws.ts";
import type { Probe } from "../../../src/gate/probe.ts";
import { Replicas } from "../../../src/gate/replicas.ts";
import { FakeCloud, type Machine, refusal } from "./discovery-cloud.ts";

const TAG = { key: "meridian:replica-of", value: "fra-1" };
const SOURCE = { tag: TAG, port: 8000, region: "eu-central-1", everyMs: 5_000 };
const NOW_MS = Date.UTC(2026, 10, 23, 4);

function machine(number: number, change: Partial<Machine> = {}): Machine {
  return {
    id: `i-${String(number).padStart(4, "0")}`,
    address: `10.0.${Math.floor(number / 250)}.${(number % 250) + 1}`,
    tags: { [TAG.key]: TAG.value },
    state: "running",
    lifecycle: "InService",
    ...change,
  };
}

let cloud: FakeCloud;
let nowMs: number;
beforeEach(async () => {
  cloud = await FakeCloud.start();
  nowMs = NOW_MS;
  cloud.role = { ...cloud.role, expiration: new Date(NOW_MS + 3_600_000).toISOString() };
});
afterEach(() => cloud.close());

const clock = { epochMs: () => nowMs, monotonicMs: () => nowMs };
const discovery = (env: Record<string, string> = {}, more = {}) =>
  awsDiscovery({ ...SOURCE, ...more }, { env: { ...cloud.env, ...env }, fetch, clock });
const urls = async (find = discovery()) =>
  (await find()).map(({ url, draining }) => `${url}${draining ? " draining" : ""}`);

describe("which machines are replicas", () => {
  test("those with the tag that run and are in service; those about to be ended drain", async () => {
    cloud.machines = [
      machine(1),
      machine(2, { lifecycle: "Terminating:Wait" }),
      machine(3, { lifecycle: "Terminating:Proceed" }),
      machine(4, { lifecycle: "Pending:Wait" }),
      machine(5, { lifecycle: "Standby" }),
      machine(6, { lifecycle: null }),
      machine(7, { state: "shutting-down" }),
      machine(8, { tags: { [TAG.key]: "iad-1" } }),
      machine(9, { tags: {} }),
    ];
    expect(await urls()).toEqual([
      "http://10.0.0.2:8000",
      "http://10.0.0.3:8000 draining",
      "http://10.0.0.4:8000 draining",
      "http://10.0.0.7:8000",
    ]);
  });

  test("ids tell no address, and are those of the same address found by name", async () => {
    cloud.machines = [machine(1)];
    const [found] = await discovery({}, { dcgmPort: 9400 })();
    expect(found).toMatchObject({ url: "http://10.0.0.2:8000", dcgmUrl: "http://10.0.0.2:9400/metrics" });
    expect(found!.id).toMatch(/^r-[0-9a-f]{10}$/);
  });

  test("all pages, and all states by fifties", async () => {
    cloud.machines = Array.from({ length: 230 }, (_, number) => machine(number));
    expect(await urls()).toHaveLength(230);
    expect(cloud.asked.filter((action) => action === "DescribeInstances")).toHaveLength(3);
    expect(cloud.asked.filter((action) => action === "DescribeAutoScalingInstances")).toHaveLength(5);
  });

  test("a list without end is no list", async () => {
    cloud.pageSize = 1;
    cloud.machines = Array.from({ length: 50 }, (_, number) => machine(number));
    await expect(discovery()()).rejects.toMatchObject({ code: "too_many_pages" });
  });

  test("none is an answer, and Auto Scaling is not asked about none", async () => {
    expect(await urls()).toEqual([]);
    expect(cloud.asked).not.toContain("DescribeAutoScalingInstances");
  });
});

describe("what cannot be told", () => {
  test.each([
    ["a refusal", "DescribeInstances", 403, refusal("UnauthorizedOperation"), "UnauthorizedOperation"],
    [
      "a refusal by Auto Scaling",
      "DescribeAutoScalingInstances",
      403,
      refusal("AccessDenied"),
      "AccessDenied",
    ],
    ["throttling", "DescribeInstances", 503, refusal("RequestLimitExceeded"), "RequestLimitExceeded"],
    ["an error without a code", "DescribeInstances", 500, "oops", "ec2_500"],
    ["no metadata", "metadata", 404, "", "metadata_404"],
  ])("%s rejects with its code", async (_, action, status, body, code) => {
    cloud.machines = [machine(1)];
    cloud.failing.set(action, { status, body });
    await expect(discovery()()).rejects.toMatchObject({ code });
  });

  test("half an answer rejects", async () => {
    cloud.machines = [machine(1)];
    cloud.failing.set("DescribeInstances", {
      status: 200,
      body: "<DescribeInstancesResponse><reservationSet>",
    });
    await expect(discovery()()).rejects.toThrow("malformed XML");
  });
});

describe("credentials", () => {
  const metadataCalls = () => cloud.asked.filter((path) => path.endsWith("/gate-role")).length;

  test("of the role, asked once, and again before they end", async () => {
    const find = discovery();
    await find();
    await find();
    expect(metadataCalls()).toBe(1);
    nowMs += 3_600_000 - CREDENTIALS_RENEW_MS;
    cloud.role = {
      ...cloud.role,
      secretAccessKey: "renewed",
      expiration: new Date(nowMs + 3_600_000).toISOString(),
    };
    await find();
    expect(metadataCalls()).toBe(2);
  });

  test("that cannot be renewed are used until their end", async () => {
    const find = discovery();
    await find();
    cloud.failing.set("metadata", { status: 500, body: "" });
    nowMs += 3_600_000 - 1;
    await find();
    nowMs += 1;
    await expect(find()).rejects.toMatchObject({ code: "metadata_500" });
  });

  test("of the environment go before the role's", async () => {
    cloud.role = { ...cloud.role, accessKeyId: "AKIAENV", secretAccessKey: "env-secret", token: "env-token" };
    const env = {
      AWS_ACCESS_KEY_ID: "AKIAENV",
      AWS_SECRET_ACCESS_KEY: "env-secret",
      AWS_SESSION_TOKEN: "env-token",
    };
    cloud.machines = [machine(1)];
    expect(await urls(discovery(env))).toHaveLength(1);
    expect(metadataCalls()).toBe(0);
  });

  test("that are wrong are refused", async () => {
    const find = discovery({ AWS_ACCESS_KEY_ID: "AKIAENV", AWS_SECRET_ACCESS_KEY: "another" });
    await expect(find()).rejects.toMatchObject({ code: "SignatureDoesNotMatch" });
  });
});

describe("replicas of the cloud", () => {
  const WELL: Probe = {
    health: "ok",
    load: {
      running: 0,
      waiting: 0,
      kvCacheUsage: 0,
      cacheTokens: null,
      hostCacheTokens: null,
      firstTokens: null,
      bootId: "1",
    },
    models: ["served"],
    gpuMemoryUsage: null,
  };
  let found: Probe;
  let replicas: Replicas;
  let warned: unknown[];

  const start = async () => {
    found = WELL;
    warned = [];
    replicas = new Replicas({
      source: { aws: SOURCE },
      probe: async () => found,
      resolve: async () => [],
      cloud: { env: cloud.env, fetch },
      pollMs: REPLICA_POLL_MS,
      clock: { epochMs: () => nowMs, monotonicMs: () => performance.now() },
      log: { info() {}, warn: (_: string, fields: unknown) => void warned.push(fields) },
      onChange() {},
    });
    await replicas.start();
  };
  const states = () => replicas.all().map(({ url, state }) => `${url.slice(7, -5)} ${state}`);
  /** The next round of discovery, and its answers, which come by real sockets. */
  const round = async () => {
    const before = cloud.asked.length;
    await vi.advanceTimersByTimeAsync(SOURCE.everyMs);
    await vi.waitFor(() => expect(cloud.asked.length).toBeGreaterThan(before));
    const settle = () => new Promise((resolve) => setImmediate(resolve));
    for (let turn = 0; turn < 20; turn++) await settle();
    await vi.advanceTimersByTimeAsync(50);
  };

  beforeEach(() => vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] }));
  afterEach(() => {
    replicas.close();
    vi.useRealTimers();
  });

  test("drain when their group is about to end them, and go when they are gone", async () => {
    cloud.machines = [machine(1), machine(2)];
    await start();
    expect(states()).toEqual(["10.0.0.2 healthy", "10.0.0.3 healthy"]);
    cloud.machines = [machine(1), machine(2, { lifecycle: "Terminating:Wait" })];
    await vi.waitUntil(async () => {
      await round();
      return states()[1] === "10.0.0.3 draining";
    });
    cloud.machines = [machine(1), machine(3)];
    await vi.waitUntil(async () => {
      await round();
      return states().join() === "10.0.0.2 healthy,10.0.0.4 healthy";
    });
  });

  test("stay while the cloud cannot be asked; those long down go", async () => {
    cloud.machines = [machine(1), machine(2)];
    await start();
    cloud.failing.set("DescribeInstances", { status: 503, body: refusal("RequestLimitExceeded") });
    await vi.waitUntil(async () => {
      await round();
      return warned.length > 0;
    });
    expect(warned[0]).toEqual({ reason: "RequestLimitExceeded" });
    expect(states()).toEqual(["10.0.0.2 healthy", "10.0.0.3 healthy"]);
    found = { ...WELL, health: "refused", load: null, models: null };
    await round();
    expect(states()).toEqual(["10.0.0.2 down", "10.0.0.3 down"]);
    await vi.advanceTimersByTimeAsync(UNSEEN_REPLICA_KEPT_MS);
    await vi.waitUntil(async () => {
      await round();
      return states().length === 0;
    });
    expect(warned.length).toBeGreaterThan(1);
  });
});

describe("the configuration", () => {
  const config = (aws: object) =>
    checkConfig({
      pool: "fra-1",
      gate: "fra-1-a",
      listen: { port: 9001 },
      edgeUrl: "https://llm.example.net",
      secrets: { 1: "a-secret-of-the-pool" },
      replicas: { aws },
      concurrencyPerReplica: 16,
    });

  test("looks every 5 s unless told otherwise", () => {
    const { everyMs: _, ...source } = SOURCE;
    expect(config(source).replicas).toEqual({ aws: SOURCE });
  });

  test.each([
    ["a region that is a zone", { region: "eu-central-1a" }],
    ["no tag", { tag: undefined }],
    ["a tag of every value", { tag: { key: "a" } }],
    ["a round that floods the API", { everyMs: 100 }],
    ["a port of nobody", { port: 0 }],
  ])("refuses %s", (_, change) => {
    expect(() => config({ ...SOURCE, ...change })).toThrow();
  });
});
