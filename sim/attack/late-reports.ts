import { createServer } from "node:http";

/** Stands between gates and edge: each report arrives late, and some answers are lost on their way back. */
export interface Lateness {
  delayMaxMs: number;
  lostShare: number;
}

export async function lateReports(
  edgeUrl: string,
  lateness: Lateness,
  random: () => number,
): Promise<string> {
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    await new Promise((resolve) => setTimeout(resolve, random() * lateness.delayMaxMs));
    try {
      const headers = Object.fromEntries(
        Object.entries(request.headers).filter(([name]) => /^(content-type|x-meridian)/.test(name)),
      ) as Record<string, string>;
      const answer = await fetch(`${edgeUrl}${request.url}`, {
        method: "POST",
        headers,
        body: Buffer.concat(chunks),
      });
      const body = Buffer.from(await answer.arrayBuffer());
      if (random() < lateness.lostShare) return void request.socket.destroy();
      response.writeHead(answer.status, { "content-type": "application/json" }).end(body);
    } catch {
      request.socket.destroy();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  server.unref();
  return `http://127.0.0.1:${address.port}`;
}
