import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface AdminCall {
  readonly method: string;
  readonly path: string;
  readonly body: Record<string, unknown> | null;
}

/** A deployed Worker as far as `npm run deploy` asks it: health, and an admin API that keeps what it is told. */
export interface FakeAdmin {
  readonly url: string;
  /** Changes only. */
  readonly changes: readonly AdminCall[];
  close(): void;
}

type Resource = Record<string, unknown> & { version: number };

/** `hashes` tells ADMIN_KEY_HASHES as it is set at the moment. */
export async function fakeAdmin(hashes: () => string): Promise<FakeAdmin> {
  const resources = new Map<string, Resource>();
  const changes: AdminCall[] = [];
  const server = createServer(async (request, response) => {
    const path = (request.url ?? "").replace(/^\/admin\/v1\//, "");
    if (path === "/health") return send(response, 200, {});
    if (!isAdmin(request, hashes())) return send(response, 401, { error: { message: "no admin" } });
    const body = await bodyOf(request);
    if (request.method !== "GET") changes.push({ method: request.method ?? "", path, body });
    if (path.startsWith("tenants?")) return send(response, 200, { data: [] });
    const id = request.method === "POST" ? `${path}/${body?.id}` : path;
    const known = resources.get(id);
    if (request.method === "GET" && !known) return send(response, 404, { error: { message: "none" } });
    if (request.method === "PATCH" && request.headers["if-match"] !== `"${known?.version}"`) {
      return send(response, 412, { error: { message: "another version" } });
    }
    if (request.method === "POST" && known) return send(response, 409, { error: { message: "there" } });
    const now = { ...known, ...body, version: (known?.version ?? 0) + (request.method === "GET" ? 0 : 1) };
    resources.set(id, now);
    const shown = id.startsWith("pools/") && request.method === "POST" ? gateSecretOf(id) : {};
    send(response, request.method === "POST" ? 201 : 200, { ...now, ...shown }, now.version);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, changes, close: () => server.close() };
}

export function gateSecretOf(id: string): { secretVersion: number; gateSecret: string } {
  return { secretVersion: 1, gateSecret: `gate-secret-of-${id}` };
}

function isAdmin({ headers }: IncomingMessage, hashes: string): boolean {
  const key = (headers.authorization ?? "").replace("Bearer ", "");
  return hashes.split(" ").includes(createHash("sha256").update(key).digest("base64url"));
}

async function bodyOf(request: IncomingMessage): Promise<Record<string, unknown> | null> {
  let text = "";
  for await (const chunk of request) text += String(chunk);
  return text === "" ? null : (JSON.parse(text) as Record<string, unknown>);
}

function send(response: ServerResponse, status: number, body: unknown, version?: number): void {
  if (version !== undefined) response.setHeader("etag", `"${version}"`);
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}
