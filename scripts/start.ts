import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { planFromFile, simulatedPlan } from "../sim/stack/plan.ts";
import { type StackInfo, startStack } from "../sim/stack/stack.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const USAGE = `npm start [-- --origins FILE]

  --origins FILE                  real vLLM servers instead of simulated ones, as
                                  {"models":["llama"],"regions":{"us-east":["http://10.0.0.5:8000"]}}
  PORT=8787                       where the edge listens
  MERIDIAN_STATE_DIR=.meridian    storage, secrets and logs, kept between runs`;

/** The whole product on one machine: edge, gates, and replicas unless real ones are named. */
async function main(): Promise<void> {
  const startedAtMs = Date.now();
  const { values } = parseArgs({ options: { origins: { type: "string" }, help: { type: "boolean" } } });
  if (values.help) {
    console.log(USAGE);
    return;
  }
  const port = Number(process.env.PORT ?? 8787);
  if (!Number.isInteger(port) || port < 1 || port > 65_000)
    throw new Error("PORT must be a number from 1 to 65000");
  const plan = values.origins === undefined ? simulatedPlan() : planFromFile(values.origins);
  const stack = await startStack({
    plan,
    port,
    stateDir: resolve(process.env.MERIDIAN_STATE_DIR ?? join(ROOT, ".meridian")),
    progress: (line) => console.log(`  … ${line}`),
  });
  let stopping = false;
  const stop = () => {
    if (stopping) return;
    stopping = true;
    console.log("\nstopping");
    stack.stop().then(
      () => process.exit(0),
      (error) => fail(error),
    );
  };
  process.on("SIGINT", stop);
  process.on("SIGTERM", stop);
  process.on("SIGHUP", stop);
  introduce(stack.info);
  console.log(`ready in ${((Date.now() - startedAtMs) / 1_000).toFixed(1)} s`);
}

function introduce({ baseUrl, tenant, regions, models, adminKey }: StackInfo): void {
  const body = JSON.stringify({
    model: models[0],
    stream: true,
    messages: [{ role: "user", content: "Why is the sky blue?" }],
  });
  console.log(`
  Meridian is at   ${baseUrl}/v1
  regions          ${regions.map(({ name, replicas }) => `${name} (${replicas.length})`).join("  ")}
  models           ${models.join("  ")}
  demo tenant key  ${tenant.key}
  admin key        ${adminKey}

  curl -N ${baseUrl}/v1/chat/completions \\
    -H 'authorization: Bearer ${tenant.key}' -H 'content-type: application/json' \\
    -d '${body}'
`);
}

function fail(error: unknown): never {
  console.error(`meridian: ${error instanceof Error ? error.message : String(error)}`);
  process.exit(1);
}

main().catch(fail);
