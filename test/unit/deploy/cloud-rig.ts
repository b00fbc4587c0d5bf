import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type CloudCall, type CloudState, cloudCalls } from "./fake-cloud.ts";
import type { Account } from "./fake-wrangler.ts";
import { plain, type Ran, Rig } from "./rig.ts";

const CLOUD = plain(new URL("./fake-cloud.ts", import.meta.url));
const CONTRACT = fileURLToPath(new URL("../../../infra/edge/tests/contract.json", import.meta.url));

export const API_TOKEN = "cloudflare-api-token-of-the-operator";
export const ACCESS = {
  "cf-access-client-id": "id.access",
  "cf-access-client-secret": "access-client-secret-value",
};

/** What infra/edge's own tests show that it puts out. */
export function edgeOutputs(change: Record<string, unknown> = {}): Record<string, { value: unknown }> {
  const contract = JSON.parse(readFileSync(CONTRACT, "utf8")) as Record<string, unknown>;
  return {
    deploy: { value: { ...contract, ...change } },
    access_service_token: {
      value: { client_id: ACCESS["cf-access-client-id"], client_secret: ACCESS["cf-access-client-secret"] },
    },
  };
}

/** A pool as infra/gpu-origin puts it out: host names, not URLs. */
export const POOL = {
  id: "fra-1",
  region: "fra",
  position: { latitude: 50.1, longitude: 8.7 },
  hint: "weur",
  gates: ["gate-fra.example.net"],
  models: [{ model: "llama", concurrencyPerReplica: 16 }],
};

/** Everything that a deployment with regions meets, beside what `Rig` is. */
export class CloudRig {
  readonly rig: Rig;
  readonly #tunnels: FakeTunnels;

  private constructor(rig: Rig, tunnels: FakeTunnels) {
    this.rig = rig;
    this.#tunnels = tunnels;
  }

  static async start(account: Partial<Account> = {}): Promise<CloudRig> {
    const rig = await Rig.start(account);
    for (const name of ["aws", "terraform"]) rig.install(name, CLOUD);
    for (const root of ["edge", "fra"]) mkdirSync(join(rig.folder, root));
    const made = new CloudRig(rig, await FakeTunnels.start());
    rig.admin.access = ACCESS;
    made.set({
      loggedIn: true,
      parameters: {},
      failingWrites: 0,
      outputs: { [made.edge]: edgeOutputs(), [made.fra]: { pool: { value: POOL } } },
    });
    return made;
  }

  /** Terraform roots. */
  get edge(): string {
    return join(this.rig.folder, "edge");
  }
  get fra(): string {
    return join(this.rig.folder, "fra");
  }

  get cloud(): CloudState {
    return JSON.parse(readFileSync(join(this.rig.folder, "cloud.json"), "utf8")) as CloudState;
  }

  set(change: Partial<CloudState>): void {
    const before = "loggedIn" in change && "outputs" in change ? {} : this.cloud;
    writeFileSync(join(this.rig.folder, "cloud.json"), JSON.stringify({ ...before, ...change }));
  }

  get calls(): CloudCall[] {
    return cloudCalls(this.rig.folder);
  }

  /** What is in a parameter now. */
  parameter(at: string): string | undefined {
    return this.cloud.parameters[at]?.Value;
  }

  get tunnelCalls(): readonly string[] {
    return this.#tunnels.calls;
  }

  tokenOf(tunnel: string): string {
    return this.#tunnels.tokenOf(tunnel);
  }

  deploy(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ran> {
    return this.rig.deploy([...args, "--url", this.rig.admin.url], {
      FAKE_CLOUD_FOLDER: this.rig.folder,
      CLOUDFLARE_API_BASE_URL: this.#tunnels.url,
      CLOUDFLARE_API_TOKEN: API_TOKEN,
      ...env,
    });
  }

  close(): void {
    this.#tunnels.close();
    this.rig.close();
  }
}

/** Cloudflare's API for tunnels; a rotation changes what a tunnel's token is. */
class FakeTunnels {
  readonly calls: string[] = [];
  readonly #server: Server;
  readonly #rotations = new Map<string, string>();

  private constructor() {
    this.#server = createServer(async (request, response) => {
      let text = "";
      for await (const chunk of request) text += String(chunk);
      this.calls.push(`${request.method} ${request.url}`);
      const [, tunnel = ""] = /cfd_tunnel\/([^/]+)/.exec(request.url ?? "") ?? [];
      const allowed = request.headers.authorization === `Bearer ${API_TOKEN}`;
      if (request.method === "PATCH") this.#rotations.set(tunnel, JSON.parse(text).tunnel_secret as string);
      const answer = allowed
        ? { success: true, result: this.tokenOf(tunnel) }
        : { success: false, errors: [{ code: 10_000, message: "Authentication error" }] };
      response.writeHead(allowed ? 200 : 403, { "content-type": "application/json" });
      response.end(JSON.stringify(answer));
    });
  }

  static async start(): Promise<FakeTunnels> {
    const made = new FakeTunnels();
    await new Promise<void>((resolve) => made.#server.listen(0, "127.0.0.1", resolve));
    return made;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  tokenOf(tunnel: string): string {
    return `token-of-tunnel-${tunnel}-${this.#rotations.get(tunnel) ?? "as-made"}`;
  }

  close(): void {
    this.#server.close();
  }
}
