import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildGate, buildWorker } from "../../../scripts/build.ts";
import { AdminClient } from "../../../sim/stack/admin.ts";
import { Child } from "../../../sim/stack/child.ts";
import { WORKERD, writeEdgeConfig } from "../../../sim/stack/edge.ts";
import { freePorts, portIsFree } from "../../../sim/stack/ports.ts";
import { gateSecret, loadSecrets, type StackSecrets, workerEnv } from "../../../sim/stack/secrets.ts";
import type { TenantUsage } from "../../../src/limits/messages.ts";
import { firstPort } from "../../support/ports.ts";
import { eventually } from "../../support/stack.ts";
import { FakeCloud } from "../../unit/gate/discovery-cloud.ts";
import { Tunnel } from "./tunnel.ts";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const READY_WITHIN_MS = 30_000;
const POOL = "fra-1";
const TAG = { key: "meridian:replica-of", value: POOL };

/** What a replica says of one request. */
export interface Entry {
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly state: string;
}

interface Node {
  readonly id: string;
  readonly url: string;
  readonly child: Child;
}

/**
 * One region as far as one machine goes: the edge in workerd, a tunnel, two gates from the bundle that is deployed, and
 * replicas as processes with an address each, found through a cloud's API.
 */
/**
 * Waits of the built edge that are too long for a test: how soon a dead gate's reservations are given up. Nothing else
 * of the bundle changes.
 */
const HURRIED = {
  START_DEADLINE_MS: 12_000,
  RESUME_WITHIN_MS: 8_000,
  UNREPORTED_GRACE_MS: 1_000,
  REPORT_SILENCE_MAX_MS: 6_000,
};

function hurried(bundle: string): string {
  let text = readFileSync(bundle, "utf8");
  for (const [name, ms] of Object.entries(HURRIED)) {
    const bound = new RegExp(`\\b${name} = [^;]+;`, "g");
    if (text.match(bound)?.length !== 1) throw new Error(`the bundle does not set ${name} once`);
    text = text.replace(bound, `${name} = ${ms};`);
  }
  writeFileSync(bundle, text);
  return bundle;
}

export class Region {
  readonly stateDir = mkdtempSync(join(tmpdir(), "meridian-region-"));
  readonly gates = new Map<string, Node>();
  readonly replicas = new Map<string, Node>();
  /** Ledgers of replicas that are gone. */
  readonly goneLedgers = new Map<string, Map<string, Entry>>();
  cloud!: FakeCloud;
  tunnel!: Tunnel;
  admin!: AdminClient;
  baseUrl = "";
  key = "";
  #bundle = "";
  #secrets!: StackSecrets;
  #edge!: Child;
  #enginePort = 0;
  #made = 0;

  static async start(): Promise<Region> {
    const region = new Region();
    try {
      await region.#start();
      return region;
    } catch (error) {
      await region.stop();
      throw error;
    }
  }

  async #start(): Promise<void> {
    mkdirSync(join(this.stateDir, "logs"));
    this.#secrets = loadSecrets(this.stateDir);
    this.cloud = await FakeCloud.start();
    this.cloud.role = { ...this.cloud.role, expiration: new Date(Date.now() + 3_600_000).toISOString() };
    this.tunnel = await Tunnel.open();
    const [bundle, port] = [hurried(await buildWorker(this.stateDir)), (await freePorts(1, firstPort()))[0]!];
    this.#bundle = await buildGate(this.stateDir);
    this.baseUrl = `http://127.0.0.1:${port}`;
    this.#edge = new Child(
      {
        name: "edge",
        command: WORKERD,
        args: ["serve", writeEdgeConfig(this.stateDir, bundle, port)],
        env: await workerEnv(this.#secrets),
        cwd: this.stateDir,
        logFile: join(this.stateDir, "logs/edge.log"),
        readyText: null,
      },
      () => {},
    );
    await this.#edge.start(READY_WITHIN_MS);
    const healthy = () =>
      fetch(`${this.baseUrl}/health`).then(
        ({ ok }) => ok,
        () => false,
      );
    await eventually(healthy, Boolean, READY_WITHIN_MS);
    this.admin = new AdminClient(this.baseUrl, this.#secrets.adminKey);
    this.#enginePort = await portOfAll(port + 10);
    await this.#register();
    for (let number = 0; number < 2; number++) await this.addReplica();
    for (const name of ["a", "b"]) await this.addGate(name);
    const usable = async () => JSON.stringify((await this.admin.call("GET", `pools/${POOL}`)).body);
    await eventually(usable, (text) => text.includes('"usable":true'), READY_WITHIN_MS);
  }

  async #register(): Promise<void> {
    await this.admin.must(201, "POST", "models", { id: "sim-chat" });
    await this.admin.must(201, "POST", "pools", {
      id: POOL,
      region: "fra",
      hint: "weur",
      position: { latitude: 50.1, longitude: 8.7 },
      gates: [this.tunnel.url],
      models: [{ model: "sim-chat", concurrencyPerReplica: 16 }],
    });
    const limits = { tokensPerMinute: 10_000_000, requestsPerMinute: 100_000, concurrentRequests: 1_000 };
    await this.admin.must(201, "POST", "tenants", { id: "acme", name: "Acme", limits });
    const made = (await this.admin.must(201, "POST", "tenants/acme/keys", {})) as { key: string };
    this.key = made.key;
  }

  /** A machine starts: a process that serves, then an instance that is in service. */
  async addReplica(): Promise<string> {
    const number = ++this.#made;
    const id = `i-${number}`;
    const address = `127.0.0.${10 + number}`;
    const options = [
      "--host",
      address,
      "--port",
      String(this.#enginePort),
      "--id",
      id,
      "--shutdown-timeout",
      "30",
    ];
    const args = [join(ROOT, "sim/origin/main.ts"), ...options, "--max-num-seqs", "16"];
    const child = this.#child(id, process.execPath, args);
    await child.start(READY_WITHIN_MS);
    this.replicas.set(id, { id, url: `http://${address}:${this.#enginePort}`, child });
    const tags = { [TAG.key]: TAG.value };
    this.cloud.machines = [
      ...this.cloud.machines,
      { id, address, tags, state: "running", lifecycle: "InService" },
    ];
    return id;
  }

  /** What the scaling group says of a machine from now on; null: there is no such machine any more. */
  lifecycle(id: string, state: string | null): void {
    const others = this.cloud.machines.filter((machine) => machine.id !== id);
    const machine = this.cloud.machines.find((one) => one.id === id)!;
    this.cloud.machines = state === null ? others : [...others, { ...machine, lifecycle: state }];
  }

  /** SIGTERM to a replica. Its ledger is read until it is gone, since it goes with the process. */
  async endReplica(id: string): Promise<void> {
    const { child, url } = this.replicas.get(id)!;
    this.goneLedgers.set(id, await this.#ledgerAt(url));
    let ended = false;
    const end = child.stop().then(() => {
      ended = true;
    });
    while (!ended) {
      const ledger = await this.#ledgerAt(url).catch(() => null);
      if (ledger !== null) this.goneLedgers.set(id, ledger);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await end;
    this.replicas.delete(id);
  }

  async addGate(name: string): Promise<void> {
    const [port] = await freePorts(1, this.#enginePort + 100);
    const config = {
      pool: POOL,
      gate: `${POOL}-${name}`,
      listen: { port },
      edgeUrl: this.baseUrl,
      replicas: { aws: { tag: TAG, port: this.#enginePort, region: "eu-central-1", everyMs: 1_000 } },
      concurrencyPerReplica: 16,
      drainMs: 20_000,
    };
    const secret = await gateSecret(this.#secrets, POOL, 1);
    const child = this.#child(`gate-${name}`, process.execPath, [this.#bundle], {
      ...this.cloud.env,
      MERIDIAN_GATE_CONFIG: JSON.stringify(config),
      MERIDIAN_GATE_SECRETS: JSON.stringify({ 1: secret }),
    });
    await child.start(READY_WITHIN_MS);
    const url = `http://127.0.0.1:${port}`;
    this.gates.set(name, { id: name, url, child });
    this.tunnel.connect(url);
  }

  #child(name: string, command: string, args: readonly string[], env: Record<string, string> = {}): Child {
    const logFile = join(this.stateDir, `logs/${name}.log`);
    return new Child({ name, command, args, env, cwd: ROOT, logFile, readyText: "ready at" }, () => {});
  }

  /** What a gate says of its replicas. */
  async seenBy(
    gate: string,
  ): Promise<{ open: number; replicas: { id: string; state: string; inFlight: number }[] }> {
    const response = await fetch(`${this.gates.get(gate)!.url}/health`, {
      signal: AbortSignal.timeout(5_000),
    });
    return (await response.json()) as Awaited<ReturnType<Region["seenBy"]>>;
  }

  async usage(): Promise<TenantUsage> {
    return (await this.admin.must(200, "GET", "tenants/acme/usage")) as TenantUsage;
  }

  /** Every replica's word, those that are gone included; by replica and request. */
  async ledgers(): Promise<Map<string, Map<string, Entry>>> {
    const all = new Map(this.goneLedgers);
    for (const { id, url } of this.replicas.values()) all.set(id, await this.#ledgerAt(url));
    return all;
  }

  async #ledgerAt(url: string): Promise<Map<string, Entry>> {
    const response = await fetch(`${url}/_sim/ledger`, { signal: AbortSignal.timeout(2_000) });
    const { requests } = (await response.json()) as { requests: Record<string, Entry> };
    return new Map(Object.entries(requests));
  }

  async stop(): Promise<void> {
    for (const { child } of [...this.gates.values(), ...this.replicas.values()]) child.kill("SIGKILL");
    await Promise.all(
      [...this.gates.values(), ...this.replicas.values()].map(({ child }) => child.stop("SIGKILL")),
    );
    await this.#edge?.stop("SIGKILL");
    this.tunnel?.close();
    this.cloud?.close();
    rmSync(this.stateDir, { recursive: true, force: true });
  }
}

/** Whole 127.0.0.0/8 is the machine's own on Linux; elsewhere only 127.0.0.1 is. */
export function hasManyLoopbacks(): boolean {
  return process.platform === "linux";
}

/** A port that is free at every address that a replica will have: discovery knows one port for all. */
async function portOfAll(from: number): Promise<number> {
  const hosts = Array.from({ length: 8 }, (_, number) => `127.0.0.${11 + number}`);
  for (let port = from; port < from + 200; port++) {
    const free = await Promise.all(hosts.map((host) => portIsFree(port, host)));
    if (free.every(Boolean)) return port;
  }
  throw new Error("no port is free at all addresses");
}
