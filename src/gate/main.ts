import { ConfigError, type GateConfig, loadConfig } from "./config.ts";
import { startGate } from "./gate.ts";

/** `node src/gate/main.ts --config gate.json` */
async function main(): Promise<void> {
  // Started by another program of this repository: does not outlive it, not even one that is gone before we serve.
  if (process.connected) process.once("disconnect", () => process.exit(0));
  // Whoever reads the log may go; streams and bills must not go with it.
  process.stdout.on("error", () => {});
  process.stderr.on("error", () => {});
  const config = configOrExit();
  const gate = await startGate(config).catch((error: NodeJS.ErrnoException) => {
    const { host, port } = config.listen;
    process.stderr.write(`gate: cannot listen on ${host}:${port}: ${error.code ?? error.message}\n`);
    process.exit(1);
  });
  process.stdout.write(`gate ${config.pool} ready at ${gate.url}\n`);

  let leaving = false;
  const leave = () => {
    // Asked twice: whoever stops this process has no more time.
    if (leaving) return gate.hasten();
    leaving = true;
    void gate.drain().then(() => process.exit(0));
  };
  process.on("SIGTERM", leave);
  process.on("SIGINT", leave);
}

function configOrExit(): GateConfig {
  try {
    return loadConfig(process.argv.slice(2), process.env);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    for (const line of error.lines) process.stderr.write(`gate: ${line}\n`);
    process.exit(2);
  }
}

await main();
