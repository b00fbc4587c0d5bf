import { connect } from "node:net";

/** What came back over one connection. */
export interface RawAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

/** Sends bytes as they are, which no HTTP client would do, and reads until the other side closes. */
export function sendRaw(port: number, bytes: string, withinMs = 10_000): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1");
    const chunks: Buffer[] = [];
    socket.setTimeout(withinMs, () => socket.destroy(new Error(`no end within ${withinMs} ms`)));
    socket.on("data", (chunk) => chunks.push(chunk));
    socket.on("error", reject);
    socket.on("close", (failed) => {
      if (!failed) resolve(readAnswer(Buffer.concat(chunks).toString("utf8")));
    });
    socket.write(bytes, "latin1");
  });
}

function readAnswer(answer: string): RawAnswer {
  const [head = "", ...rest] = answer.split("\r\n\r\n");
  const [statusLine = "", ...lines] = head.split("\r\n");
  const headers = new Headers();
  for (const line of lines) {
    const colon = line.indexOf(":");
    headers.append(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  return { status: Number(statusLine.split(" ")[1]), headers, text: rest.join("\r\n\r\n") };
}

/** A POST with a JSON body. `lines`: header lines as they are, each with its line break. */
export function rawPost(target: string, key: string, body: unknown, lines = "", host = "edge"): string {
  const text = JSON.stringify(body);
  return (
    `POST ${target} HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${key}\r\n${lines}` +
    `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(text)}\r\nConnection: close\r\n\r\n${text}`
  );
}
