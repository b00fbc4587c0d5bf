import { readFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { REPLICA_POLL_MS } from "../../../src/bounds.ts";
import { POLL_TIMEOUTS_UNTIL_DOWN, REPLICA_DRAINING_MS } from "../../../src/gate/bounds.ts";
import { systemClock } from "../../../src/gate/clock.ts";
import {
  type Probe,
  probe,
  readCacheTokens,
  readGpuMemory,
  readLoad,
  readModels,
  samples,
} from "../../../src/gate/probe.ts";
import { Replicas } from "../../../src/gate/replicas.ts";
import { METRICS, startFakeEngine } from "../../support/gate-engine.ts";

const LOAD = {
  running: 2,
  waiting: 1,
  kvCacheUsage: 0.25,
  cacheTokens: 4_096,
  hostCacheTokens: null,
  firstTokens: 9,
  bootId: "1",
};
const WELL: Probe = { health: "ok", load: LOAD, models: ["served"], gpuMemoryUsage: null };

describe("the states of a replica", () => {
  let found: Probe | "hangs";
  let probes: number;
  let changes: string[];
  let addresses: string[] | Error;
  let replicas: Replicas;

  const start = async (source: ConstructorParameters<typeof Replicas>[0]["source"]) => {
    replicas = new Replicas({
      source,
      probe: async () => {
        probes += 1;
        return found === "hangs" ? new Promise(() => {}) : found;
      },
      resolve: async () => {
        if (addresses instanceof Error) throw addresses;
        return addresses;
      },
      pollMs: REPLICA_POLL_MS,
      clock: systemClock,
      log: { info() {}, warn() {} },
      onChange: ({ id, state }) => changes.push(`${id} ${state}`),
    });
    await replicas.start();
  };
  const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);
  const state = () => replicas.get("r0")?.state;

  beforeEach(() => {
    vi.useFakeTimers();
    found = WELL;
    probes = 0;
    changes = [];
    addresses = [];
  });
  afterEach(() => {
    replicas.close();
    vi.useRealTimers();
  });

  describe("with a static list", () => {
    beforeEach(() => start({ static: [{ id: "r0", url: "http://r0" }] }));

    test("healthy once it was looked at, and told as the engine sees itself", () => {
      expect(changes).toEqual(["r0 healthy"]);
      expect(replicas.reports()).toEqual([
        {
          id: "r0",
          models: ["served"],
          state: "healthy",
          inFlight: 0,
          running: 2,
          waiting: 1,
          kvCacheUsage: 0.25,
          gpuMemoryUsage: null,
          bootId: "1",
          cacheTokens: 4_096,
        },
      ]);
    });

    test("down at once when it refuses or says so, healthy again when it is", async () => {
      found = { ...WELL, health: "refused", load: null, models: null };
      await pass(REPLICA_POLL_MS);
      expect(state()).toBe("down");
      found = WELL;
      await pass(REPLICA_POLL_MS);
      found = { ...WELL, health: "bad" };
      await pass(REPLICA_POLL_MS);
      expect(changes).toEqual(["r0 healthy", "r0 down", "r0 healthy", "r0 down"]);
    });

    test("down only after several looks that took too long", async () => {
      found = { ...WELL, health: "timeout", load: null };
      await pass((POLL_TIMEOUTS_UNTIL_DOWN - 1) * REPLICA_POLL_MS);
      expect(state()).toBe("healthy");
      await pass(REPLICA_POLL_MS);
      expect(state()).toBe("down");
    });

    test("a look that never ends is not joined by others", async () => {
      found = "hangs";
      await pass(20 * REPLICA_POLL_MS);
      expect(probes).toBe(2);
    });

    test("draining while it refuses chats, though its health check is well; then it is tried again", async () => {
      replicas.drains("r0");
      expect(state()).toBe("draining");
      await pass(REPLICA_DRAINING_MS - REPLICA_POLL_MS);
      expect(state()).toBe("draining");
      await pass(2 * REPLICA_POLL_MS);
      expect(state()).toBe("healthy");
    });

    test("draining ends with the process that drained", async () => {
      replicas.drains("r0");
      found = { ...WELL, health: "refused", load: null };
      await pass(REPLICA_POLL_MS);
      expect(state()).toBe("down");
      found = WELL;
      await pass(REPLICA_POLL_MS);
      expect(state()).toBe("healthy");
      replicas.drains("r0");
      found = { ...WELL, load: { ...LOAD, bootId: "2" } };
      await pass(REPLICA_POLL_MS);
      expect(state()).toBe("healthy");
    });

    test("down as soon as a request finds nobody listening", () => {
      replicas.refused("r0");
      expect(changes).toEqual(["r0 healthy", "r0 down"]);
    });
  });

  describe("with a name to resolve", () => {
    const everyMs = 5_000;
    const dns = { dns: { name: "vllm.internal", port: 8000, everyMs } };

    test("each address is a replica, whose id does not tell its address", async () => {
      addresses = ["10.0.0.2", "10.0.0.1", "fd00::1"];
      await start(dns);
      expect(replicas.all().map(({ url }) => url)).toEqual([
        "http://10.0.0.1:8000",
        "http://10.0.0.2:8000",
        "http://[fd00::1]:8000",
      ]);
      for (const { id } of replicas.all()) expect(id).toMatch(/^r-[0-9a-f]{10}$/);
    });

    test("new ones come, and those that leave finish what they have", async () => {
      addresses = ["10.0.0.1"];
      await start(dns);
      const [first] = replicas.all();
      first!.inFlight = 1;
      addresses = ["10.0.0.2"];
      await pass(everyMs);
      expect(replicas.all().map(({ url, state: now }) => [url, now])).toEqual([
        ["http://10.0.0.1:8000", "draining"],
        ["http://10.0.0.2:8000", "healthy"],
      ]);
      first!.inFlight = 0;
      await pass(everyMs);
      expect(replicas.all().map(({ url }) => url)).toEqual(["http://10.0.0.2:8000"]);
    });

    test("a resolver that fails takes nobody away", async () => {
      addresses = ["10.0.0.1"];
      await start(dns);
      addresses = new Error("SERVFAIL");
      await pass(3 * everyMs);
      expect(replicas.all().map(({ state: now }) => now)).toEqual(["healthy"]);
    });
  });
});

describe("what an engine's pages say", () => {
  test("vLLM's gauges, all engines of a server together", () => {
    expect(readLoad(METRICS)).toEqual({
      ...{ running: 2, waiting: 1, kvCacheUsage: 0.25, bootId: "1700000000" },
      ...{ cacheTokens: null, hostCacheTokens: null, firstTokens: null },
    });
    const two = `${METRICS}vllm:num_requests_running{engine="1"} 3\nvllm:kv_cache_usage_perc{engine="1"} 0.5\n`;
    expect(readLoad(two)).toMatchObject({ running: 5, kvCacheUsage: 0.5 });
  });

  test("without the process's start, the birth of a counter tells one process from the next", () => {
    const text = METRICS.replace(/process.*\n/, 'vllm:prompt_tokens_created{engine="0"} 1.75e+09\n');
    expect(readLoad(text)?.bootId).toBe("1750000000");
  });

  test("the size of the cache, in tokens or as blocks, over all engines of a server", () => {
    const real = readFileSync(new URL("../../fixtures/vllm/metrics-busy.txt", import.meta.url), "utf8");
    const gpu = (page: string) => readCacheTokens(page).cacheTokens;
    expect(gpu(real)).toBe(23_296);
    expect(gpu(real.replace(/kv_cache_size_tokens="23296",/, ""))).toBe(182 * 128);
    const info = (labels: string) => `vllm:cache_config_info{${labels}} 1.0\n`;
    const two = info('block_size="16",num_gpu_blocks="10"') + info('num_gpu_blocks="5",block_size="16"');
    expect(gpu(two)).toBe(240);
    expect(gpu(info('block_size="16",num_gpu_blocks="None"'))).toBeNull();
    expect(gpu(info('sub_block_size="16",num_gpu_blocks="7"'))).toBeNull();
    expect(gpu("")).toBeNull();
    const host = info('block_size="16",num_gpu_blocks="10",num_cpu_blocks="40"');
    expect(readCacheTokens(host)).toEqual({ cacheTokens: 160, hostCacheTokens: 640 });
    expect(readLoad(real)).toMatchObject({ cacheTokens: 23_296, firstTokens: expect.any(Number) });
  });

  test("adapters are models as any other", () => {
    const adapter = { id: "base-legal", object: "model", root: "/adapters/legal", parent: "base" };
    const list = { object: "list", data: [{ id: "base", object: "model", parent: null }, adapter] };
    expect(readModels(JSON.stringify(list))).toEqual(["base", "base-legal"]);
  });

  test("text that is not vLLM's is no load", () => {
    expect(readLoad("")).toBeNull();
    expect(readLoad("<html>")).toBeNull();
  });

  test("a metric's name is not found inside another's, nor in comments", () => {
    const text = '# HELP a_b text\na_b_total 1\na_b{x="a_b 9 }"} 2\nx_a_b 3\na_b 4 1700000000\na_b NaN\n';
    expect(samples(text, "a_b")).toEqual([2, 4]);
  });

  test("models, and nothing where it is no list", () => {
    expect(readModels('{"data":[{"id":"a"},{"id":7},null,{"id":"b"}]}')).toEqual(["a", "b"]);
    expect(readModels("{}")).toBeNull();
    expect(readModels("oops")).toBeNull();
  });

  test("the fullest GPU counts", () => {
    const text =
      'DCGM_FI_DEV_FB_USED{gpu="0"} 10\nDCGM_FI_DEV_FB_USED{gpu="1"} 90\n' +
      'DCGM_FI_DEV_FB_FREE{gpu="0"} 90\nDCGM_FI_DEV_FB_FREE{gpu="1"} 10\n';
    expect(readGpuMemory(text)).toBe(0.9);
    expect(readGpuMemory("")).toBeNull();
    expect(readGpuMemory('DCGM_FI_DEV_FB_USED{gpu="0"} 10\n')).toBeNull();
  });

  test("a real look over HTTP", async () => {
    const engine = await startFakeEngine();
    expect(await probe({ url: engine.url, dcgmUrl: `${engine.url}/metrics` }, undefined)).toEqual({
      health: "ok",
      load: {
        ...{ running: 2, waiting: 1, kvCacheUsage: 0.25, bootId: "1700000000" },
        ...{ cacheTokens: null, hostCacheTokens: null, firstTokens: null },
      },
      models: ["served"],
      gpuMemoryUsage: null,
    });
    engine.health = 503;
    expect((await probe({ url: engine.url }, undefined)).health).toBe("bad");
    await engine.close();
    expect((await probe({ url: engine.url }, undefined)).health).toBe("refused");
  });
});
