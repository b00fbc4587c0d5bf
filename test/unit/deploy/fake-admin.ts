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
  /** Headers without which Cloudflare Access lets nobody through; empty: it is not there. */
  access: Readonly<Record<string, string>>;
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
    if (Object.entries(admin.access).some(([name, value]) => request.headers[name] !== value)) {
      response.writeHead(403, { "content-type": "text/html" });
      return response.end("<html>Cloudflare Access</html>");
    }
    if (!isAdmin(request, hashes())) return send(response, 401, { error: { message: "no admin" } });
    const body = await bodyOf(request);
    if (request.method !== "GET") changes.push({ method: request.method ?? "", path, body });
    if (path.startsWith("tenants?")) return send(response, 200, { data: [] });
    const [, rotated, how] = /^(pools\/[^/]+)\/(rotate-secret|end-rotation)$/.exec(path) ?? [];
    if (rotated !== undefined) return send(response, 200, rotate(resources, rotated, how!));
    const id = request.method === "POST" ? `${path}/${body?.id}` : path;
    const known = resources.get(id);
    if (request.method === "GET" && !known) return send(response, 404, { error: { message: "none" } });
    if (request.method === "PATCH" && request.headers["if-match"] !== `"${known?.version}"`) {
      return send(response, 412, { error: { message: "another version" } });
    }
    if (request.method === "POST" && known) return send(response, 409, { error: { message: "there" } });
    const secret = id.startsWith("pools/") ? { secretVersion: 1 } : {};
    const now = {
      ...secret,
      ...known,
      ...body,
      version: (known?.version ?? 0) + (request.method === "GET" ? 0 : 1),
    };
    resources.set(id, now);
    const shown = id.startsWith("pools/") && request.method === "POST" ? gateSecretOf(id) : {};
    send(response, request.method === "POST" ? 201 : 200, { ...now, ...shown }, now.version);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const admin = { url: `http://127.0.0.1:${port}`, changes, access: {}, close: () => server.close() };
  return admin;
}

function rotate(
  resources: Map<string, Resource>,
  id: string,
  how: string,
): Resource & { gateSecret?: string } {
  const before = resources.get(id)!;
  const rotating = how === "rotate-secret";
  const secretVersion = Number(before.secretVersion) + (rotating ? 1 : 0);
  const after = { ...before, secretVersion, rotating };
  resources.set(id, after);
  return rotating ? { ...after, gateSecret: gateSecretOf(id, secretVersion).gateSecret } : after;
}

export function gateSecretOf(id: string, secretVersion = 1): { secretVersion: number; gateSecret: string } {
  return {
    secretVersion,
    gateSecret: `gate-secret-${secretVersion === 1 ? "" : `${secretVersion}-`}of-${id}`,
  };
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
