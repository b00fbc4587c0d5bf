import { createServer } from "node:net";

/** True when nothing listens on the port of this host. */
export function portIsFree(port: number, host = "127.0.0.1"): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once("error", () => resolve(false));
    probe.listen(port, host, () => probe.close(() => resolve(true)));
  });
}

/** The first free ports from `from` on, as many as asked for. */
export async function freePorts(count: number, from: number): Promise<number[]> {
  const found: number[] = [];
  for (let port = from; found.length < count && port < 65_536; port++) {
    if (await portIsFree(port)) found.push(port);
  }
  if (found.length < count) throw new Error(`no ${count} free ports from ${from} on`);
  return found;
}
