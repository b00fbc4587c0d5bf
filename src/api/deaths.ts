import { OBJECT_CALL_TIMEOUT_MS } from "../bounds.ts";
import type { Pool } from "../catalogue.ts";
import type { GateReport } from "../contract/report.ts";
import { withDeadline } from "../deadline.ts";
import { registryReader } from "../durable/stub.ts";
import type { Env } from "../env.ts";
import { fingerprintOfDigest } from "../relay/fingerprint.ts";
import type { Death, Verdict } from "../routing/messages.ts";
import type { Secrets } from "../secrets.ts";
import { count } from "../telemetry/metrics.ts";

/** Waits before the registry is told once more. Deaths are few, and each is told until it is known. */
const AGAIN_AFTER_MS = [0, 1_000, 3_000, 9_000];

/** Tells the registry of engines that died and of suspects that completed; never in the way of the report. */
export function tellDeaths(
  { deaths = [], cleared = [] }: GateReport,
  pool: Pool,
  secrets: Secrets,
  env: Env,
  ctx: ExecutionContext,
): void {
  if (deaths.length === 0 && cleared.length === 0) return;
  for (const _ of deaths) count("meridian_engine_deaths_total", { pool: pool.id });
  const tell = async () => {
    const named = await Promise.all(
      deaths.map(async ({ present, ...death }): Promise<Death> => {
        const those = present.map(async ({ digest, begun }) => {
          return { fingerprint: await fingerprintOfDigest(digest, secrets), begun };
        });
        return { ...death, pool: pool.id, present: await Promise.all(those) };
      }),
    );
    alarm(await untilTold(env, named, cleared), named);
  };
  ctx.waitUntil(tell());
}

async function untilTold(env: Env, deaths: readonly Death[], cleared: readonly string[]): Promise<Verdict> {
  for (const waitMs of AGAIN_AFTER_MS) {
    await new Promise((resolve) => setTimeout(resolve, waitMs));
    try {
      return await withDeadline(registryReader(env).died(deaths, cleared), OBJECT_CALL_TIMEOUT_MS);
    } catch (error) {
      console.error(JSON.stringify({ event: "deaths_untold", deaths: deaths.length, detail: String(error) }));
    }
  }
  return { held: [], retracted: [] };
}

/** One line for each, for whoever is on call: ids, times and counts, nothing of a text. */
function alarm({ held, retracted }: Verdict, deaths: readonly Death[]): void {
  for (const { id, pool, replica, present } of deaths) {
    console.error(
      JSON.stringify({ event: "engine_died", death: id, pool, replica, present: present.length }),
    );
  }
  for (const { fingerprint, untilMs, offences } of held) {
    count("meridian_quarantines_total", { what: "held" });
    console.error(
      JSON.stringify({ event: "quarantined", alarm: true, fingerprint, until: new Date(untilMs), offences }),
    );
  }
  for (const fingerprint of retracted) {
    count("meridian_quarantines_total", { what: "retracted" });
    console.error(JSON.stringify({ event: "quarantine_retracted", fingerprint }));
  }
}
