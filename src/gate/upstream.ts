import { Agent, type ClientRequest, type IncomingMessage, request } from "node:http";
import { connect, type Socket } from "node:net";
import {
  CONNECT_TIMEOUT_MS,
  ENGINE_ERROR_MAX_BYTES,
  ENGINE_IDLE_SOCKET_MS,
  GONE_AGAIN_MS,
  GONE_CHECK_MS,
} from "./bounds.ts";

/** One call to an engine, which can be left in two ways. */
export interface EngineCall {
  /** The engine's status and headers. Rejects when there is none. */
  readonly answer: Promise<IncomingMessage>;
  /**
   * Ends our side of the connection and goes on reading. vLLM aborts the request within 0.07 s, sends what it had
   * already made and closes, so nothing that it made escapes the count.
   */
  halfClose(): void;
  /** False when it was left before there was a connection: then the engine never heard of it. */
  readonly reached: boolean;
  /** True when it was sent once more, because a kept connection had ended: the engine may have died with it. */
  readonly resent: boolean;
  /** Whether nothing listens at the engine any more. A connection that broke is no proof of that. */
  gone(): Promise<boolean>;
  /** Closes the connection at once. */
  destroy(): void;
}

export interface EngineRequest {
  readonly baseUrl: string;
  readonly path: string;
  readonly requestId: string;
  readonly body: string;
}

/** Connections to the replicas. */
export interface EngineClient {
  call(to: EngineRequest): EngineCall;
  close(): void;
}

export function createEngineClient(apiKey: string | undefined): EngineClient {
  // An idle connection closes before uvicorn would close it (5 s): a request never races that.
  const pooled = new Agent({ keepAlive: true, timeout: ENGINE_IDLE_SOCKET_MS, maxFreeSockets: 256 });
  const fresh = new Agent({ keepAlive: false });
  return {
    call: (to) => callEngine(to, apiKey, pooled, fresh),
    close() {
      pooled.destroy();
      fresh.destroy();
    },
  };
}

function callEngine(to: EngineRequest, apiKey: string | undefined, pooled: Agent, fresh: Agent): EngineCall {
  let current: ClientRequest;
  let left = false;
  let answered = false;
  let reached = true;
  let resent = false;
  const answer = new Promise<IncomingMessage>((resolve, reject) => {
    const send = (agent: Agent, onError: (error: NodeJS.ErrnoException) => void) => {
      current = request(`${to.baseUrl}${to.path}`, {
        method: "POST",
        agent,
        // Overrides the agent's idle timeout while the request runs: an engine may think for long.
        timeout: 0,
        headers: requestHeaders(to, apiKey),
      });
      current.once("response", (response) => {
        answered = true;
        resolve(response);
      });
      current.on("error", onError);
      current.once("socket", limitConnecting);
      current.end(to.body);
    };
    send(pooled, (error) => {
      // The engine closed a connection that was idle, and our request crossed that: it was never read.
      if (!current.reusedSocket || !isReset(error) || answered || left) return reject(error);
      resent = true;
      send(fresh, reject);
    });
  });
  // Whoever leaves before the answer no longer waits for it.
  answer.catch(() => {});
  return {
    answer,
    halfClose() {
      left = true;
      reached = current.socket !== null && current.socket !== undefined && !current.socket.connecting;
      if (reached) current.socket?.end();
      else current.destroy();
    },
    get reached() {
      return reached;
    },
    get resent() {
      return resent;
    },
    gone: () => isGone(to.baseUrl),
    destroy() {
      left = true;
      current.destroy();
    },
  };
}

function requestHeaders(to: EngineRequest, apiKey: string | undefined): Record<string, string | number> {
  const headers: Record<string, string | number> = {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(to.body),
    accept: "*/*",
    "accept-encoding": "identity",
    "x-request-id": to.requestId,
  };
  if (apiKey !== undefined) headers.authorization = `Bearer ${apiKey}`;
  return headers;
}

function isReset(error: NodeJS.ErrnoException): boolean {
  return error.code === "ECONNRESET" || error.code === "EPIPE";
}

/** A host that vanished does not refuse: without this, connecting would take two minutes to fail. */
function limitConnecting(socket: Socket): void {
  if (!socket.connecting) return;
  const timer = setTimeout(() => {
    const error: NodeJS.ErrnoException = new Error("connecting took too long");
    error.code = "ETIMEDOUT";
    socket.destroy(error);
  }, CONNECT_TIMEOUT_MS);
  socket.once("connect", () => clearTimeout(timer));
  socket.once("close", () => clearTimeout(timer));
}

/** Looks twice: of a process that is being killed the connections may end before its listener does. */
async function isGone(baseUrl: string): Promise<boolean> {
  if (await refusesConnections(baseUrl)) return true;
  await new Promise((resolve) => setTimeout(resolve, GONE_AGAIN_MS));
  return refusesConnections(baseUrl);
}

function refusesConnections(baseUrl: string): Promise<boolean> {
  const { hostname, port } = new URL(baseUrl);
  return new Promise((resolve) => {
    const socket = connect({ host: hostname, port: Number(port) || 80, timeout: GONE_CHECK_MS });
    const done = (gone: boolean) => {
      socket.destroy();
      resolve(gone);
    };
    socket.once("connect", () => done(false));
    socket.once("timeout", () => done(false));
    socket.once("error", (error) => done(isRefused(error)));
  });
}

/** True when nothing listens there: the replica is gone, not just slow. */
export function isRefused(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException | null)?.code;
  return code === "ECONNREFUSED" || code === "EHOSTUNREACH" || code === "ENETUNREACH";
}

/** The text of an error answer, cut off at ENGINE_ERROR_MAX_BYTES. `done` is called when the answer has ended. */
export function readErrorText(answer: IncomingMessage, done: (text: string) => void): void {
  const chunks: Buffer[] = [];
  let bytes = 0;
  answer.on("data", (chunk: Buffer) => {
    if (bytes < ENGINE_ERROR_MAX_BYTES) chunks.push(chunk);
    bytes += chunk.byteLength;
  });
  answer.on("end", () => done(Buffer.concat(chunks).toString("utf8", 0, ENGINE_ERROR_MAX_BYTES)));
}
