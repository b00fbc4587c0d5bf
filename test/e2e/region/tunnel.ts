import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/**
 * Takes the place of a region's tunnel: one public name, a connector beside each gate, and the ingress of infra/edge,
 * `^/v1/` to the gate and 404 for all else. As at Cloudflare, nobody chooses which connector a request takes.
 */
export class Tunnel {
  /** Gates whose connectors are up. */
  readonly #gates: string[] = [];
  readonly #server: Server;
  #turn = 0;

  private constructor() {
    this.#server = createServer((req, res) => void this.#forward(req, res));
  }

  static async open(): Promise<Tunnel> {
    const tunnel = new Tunnel();
    await new Promise<void>((resolve) => tunnel.#server.listen(0, "127.0.0.1", resolve));
    return tunnel;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** A connector comes up beside a gate. */
  connect(gateUrl: string): void {
    this.#gates.push(gateUrl);
  }

  /** A connector is stopped, as a node does before it stops its gate: what runs goes on, nothing new comes. */
  withdraw(gateUrl: string): void {
    this.#gates.splice(this.#gates.indexOf(gateUrl), 1);
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  async #forward(req: IncomingMessage, res: ServerResponse): Promise<void> {
    res.on("error", () => {});
    const gate = this.#gates[this.#turn++ % Math.max(1, this.#gates.length)];
    if (!/^\/v1\//.test(req.url ?? "")) res.writeHead(404).end();
    else if (gate === undefined) res.writeHead(530).end("error code: 1033");
    else {
      const body = await bodyOf(req).catch(() => null);
      if (body !== null) pass(gate, req, body, res);
    }
  }
}

async function bodyOf(req: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of req) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function pass(gate: string, req: IncomingMessage, body: Buffer, res: ServerResponse): void {
  const { method, headers } = req;
  const outgoing = request(`${gate}${req.url}`, { method: method!, headers }, (answer) => {
    res.writeHead(answer.statusCode!, answer.headers);
    answer.pipe(res);
    // A gate that dies in the middle must not look like an end.
    answer.on("error", () => res.destroy());
    answer.on("close", () => {
      if (!answer.complete) res.destroy();
    });
  });
  outgoing.on("error", () => {
    if (res.headersSent) res.destroy();
    else res.writeHead(502).end();
  });
  res.on("close", () => outgoing.destroy());
  outgoing.end(body);
}
