import { connect, createServer, type Socket } from "node:net";

/**
 * Stands before plain workerd as Cloudflare's own front does, for one reason: a client that leaves. workerd notices a
 * reset at once and an ordinary close (FIN) only when it next writes, so a client that gives up while it waits would
 * keep its request running to the end. No HTTP client closes one half and reads on, so here a close is a reset.
 */
export interface Front {
  close(): Promise<void>;
}

export async function startFront(port: number, edgePort: number): Promise<Front> {
  const clients = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    clients.add(client);
    const edge = connect({ port: edgePort, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
    client.once("end", () => edge.resetAndDestroy());
    client.once("close", () => {
      clients.delete(client);
      edge.resetAndDestroy();
    });
    // An edge that is gone cuts its answers off; one that closes has said all it had to say.
    edge.once("end", () => client.end());
    edge.once("close", (failed) => (failed ? client.resetAndDestroy() : client.end()));
    for (const socket of [client, edge]) socket.on("error", () => socket.destroy());
    client.pipe(edge, { end: false });
    edge.pipe(client, { end: false });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const client of clients) client.destroy();
      }),
  };
}
