import { once } from "node:events";
import { connect, type Socket } from "node:net";

/** Redis' own protocol, RESP2, as far as a bridge needs it. */
export type Reply = string | number | null | RespError | Reply[];

/** An error that Redis answered, its message verbatim. */
export class RespError extends Error {}

/** One connection, one command at a time. */
export class RespConnection {
  readonly #socket: Socket;
  #read = Buffer.alloc(0);

  private constructor(socket: Socket) {
    this.#socket = socket;
    // An error that nobody awaits: the next command meets it as a closed connection.
    socket.on("error", () => undefined);
  }

  static async open(socketPath: string): Promise<RespConnection> {
    const socket = connect(socketPath);
    await once(socket, "connect");
    return new RespConnection(socket);
  }

  /** Rejects when the connection ends before the reply. */
  send(command: readonly (string | number)[]): Promise<Reply> {
    const parts = command.map((part) => `$${Buffer.byteLength(String(part))}\r\n${part}\r\n`);
    return new Promise((resolve, reject) => {
      const gone = () => reject(new Error("Redis closed the connection"));
      const take = (chunk: Buffer) => {
        this.#read = Buffer.concat([this.#read, chunk]);
        const parsed = parse(this.#read, 0);
        if (parsed === null) return;
        this.#read = this.#read.subarray(parsed.end);
        this.#socket.off("data", take).off("close", gone);
        resolve(parsed.reply);
      };
      this.#socket.on("data", take).on("close", gone);
      if (this.#socket.destroyed) gone();
      else this.#socket.write(`*${parts.length}\r\n${parts.join("")}`);
    });
  }

  close(): void {
    this.#socket.destroy();
  }
}

interface Parsed {
  readonly reply: Reply;
  readonly end: number;
}

/** The reply that begins at `at`, or null while some of it is still to come. */
function parse(bytes: Buffer, at: number): Parsed | null {
  const line = bytes.indexOf("\r\n", at);
  if (line < 0) return null;
  const [kind, rest] = [String.fromCharCode(bytes[at]!), bytes.toString("utf8", at + 1, line)];
  const end = line + 2;
  if (kind === "+") return { reply: rest, end };
  if (kind === "-") return { reply: new RespError(rest), end };
  if (kind === ":") return { reply: Number(rest), end };
  const length = Number(rest);
  if (length < 0) return { reply: null, end };
  if (kind === "*") return parseArray(bytes, end, length);
  if (kind !== "$") throw new Error(`RESP: unknown type ${kind}`);
  if (bytes.length < end + length + 2) return null;
  return { reply: bytes.toString("utf8", end, end + length), end: end + length + 2 };
}

function parseArray(bytes: Buffer, from: number, length: number): Parsed | null {
  const reply: Reply[] = [];
  let end = from;
  while (reply.length < length) {
    const item = parse(bytes, end);
    if (item === null) return null;
    reply.push(item.reply);
    end = item.end;
  }
  return { reply, end };
}
