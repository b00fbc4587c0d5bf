import type { GateWorld, Run } from "./gate.ts";
import type { World } from "./world.ts";

const BROKEN_FOR_GOOD = 200;

/** What gates see of a world: time, the ghost that watches, objects to report to, and engines that die. */
export function gateWorldOf(world: World): GateWorld {
  const { events, ghost, network, random, setting, sites } = world;
  const send = (region: number, at: number, deliver: () => void) =>
    network.send(`gate:${region}`, sites.latencyMs(region, at), deliver);
  return {
    after: (delayMs, run) => events.after(delayMs, run),
    generated: (run: Run, tokens) => {
      ghost.started(run);
      run.generatedTokens += tokens;
      ghost.made(run);
    },
    report: (region, at, reports, reply) =>
      send(region, at, () => world.object(at).report(reports, (stop) => send(region, at, () => reply(stop)))),
    finish: (region, at, run) => {
      const { claim, id } = run;
      // Who lost has no client that could have its answer.
      if (!world.races.serves(run)) return;
      send(region, at, () => world.object(at).end("finish", id, claim ?? undefined));
    },
    breaks: () => !world.healed && random.chance(setting.breakPerMille),
    carryOn: (region, run) => carryOn(world, region, run),
  };
}

/** An engine died in mid-stream: mostly another goes on, in this region or another. */
function carryOn(world: World, region: number, run: Run): void {
  const { events, gates, random } = world;
  if (random.chance(BROKEN_FOR_GOOD) || !world.races.serves(run)) return;
  const elsewhere = random.chance(500) ? random.int(0, gates.length - 1) : region;
  const rest: Run = {
    ...run,
    attempt: world.races.next(run),
    promptTokens: 0,
    outputTokens: run.promptTokens + run.outputTokens - run.generatedTokens,
    generatedTokens: 0,
    ...{ state: "runs", retryIn: 0, retries: 0 },
  };
  events.after(random.int(20, 3_000), () => gates[elsewhere]!.start(rest));
}
