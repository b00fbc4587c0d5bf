import { describe, expect, it } from "vitest";
import { randomFrom } from "../../../sim/world/random.ts";
import { type Setting, settingOf } from "../../../sim/world/schedule.ts";
import { askOf, PLACES } from "../../../sim/world/tenant.ts";
import { World } from "../../../sim/world/world.ts";
import { EVEN_WEIGHTS } from "../../../src/catalogue.ts";
import { RECALL_WAIT_MS } from "../../../src/limits/bounds.ts";
import type { ReserveAnswer } from "../../../src/limits/messages.ts";

const TOKENS_PER_MINUTE = 12_000;
const QUIET = { lossPerMille: 0, duplicatePerMille: 0, slowPerMille: 0, delayMaxMs: 0 };

function worldOf(seed: number, more: Partial<Setting> = {}): World {
  const setting: Setting = {
    ...settingOf(seed),
    ...{ holders: 1, shards: 1, limits: { tokensPerMinute: TOKENS_PER_MINUTE }, keyLimits: {} },
    ...{ endUserLimits: {}, softAllowanceTokens: 0, weights: EVEN_WEIGHTS, blocks: null },
    ...{ breakPerMille: 0, racePerMille: 0, crashPerMille: 0, net: QUIET },
    ...{ driftPerMille: [0, 0], offsetMs: [1_800_000_000_000, 1_800_000_000_000] },
  };
  return new World(seed, { ...setting, ...more });
}

/** How another location asks: for less than there is, or for more. */
const DEMANDS = { modest: { requests: 40, gapMs: 200 }, greedy: { requests: 80, gapMs: 100 } };

/** Within the home's part, which is half of what the other's streams do not hold or take next. */
const ASKED: Record<keyof typeof DEMANDS, [number, number]> = {
  modest: [3_500, 4_500],
  greedy: [2_100, 2_400],
};

/** It has asked for so long that it holds most of the budget. */
function lendMost(world: World, demand: keyof typeof DEMANDS): void {
  const each = { promptTokens: 5, missedTokens: 0, outputTokens: 4, tokensPerSecond: 50 };
  world.load(1, { ...DEMANDS[demand], ...each });
  world.run(8_500);
}

/** A client at home asks for a prompt, and is told before anything else happens. */
function askedAtHome(world: World, id: string, promptTokens: number): ReserveAnswer {
  let told: ReserveAnswer | null = null;
  world.home.reserve(askOf(id, PLACES[0]!, promptTokens, null, EVEN_WEIGHTS), (answer) => {
    told = answer;
  });
  return told!;
}

const leasedTokens = (world: World) => world.home.store.account("tenant")!.leased.tokens;

describe("a home that is short while another location holds tokens", () => {
  it.each(["modest", "greedy"] as const)(
    "tells a client when they are recalled, and then admits it: %s",
    (demand) => {
      for (let seed = 1; seed <= 20; seed += 1) {
        const world = worldOf(seed);
        lendMost(world, demand);
        const promptTokens = randomFrom(seed).int(...ASKED[demand]);
        expect(leasedTokens(world)).toBeGreaterThan(TOKENS_PER_MINUTE * 0.6);
        const refused = askedAtHome(world, "first", promptTokens);
        expect(refused).toMatchObject({
          ok: false,
          failure: { tag: "rate_limited", dimension: "tokens_per_minute", retryAfterMs: RECALL_WAIT_MS },
        });
        world.run(RECALL_WAIT_MS);
        expect(askedAtHome(world, "again", promptTokens)).toMatchObject({ ok: true });
        world.rest();
      }
    },
  );

  it("would not have had the tokens by then without the recall", () => {
    const world = worldOf(1);
    lendMost(world, "modest");
    world.home.recall = () => undefined;
    expect(askedAtHome(world, "first", 4_000)).toMatchObject({ ok: false });
    world.network.cut("home:1", RECALL_WAIT_MS);
    world.run(RECALL_WAIT_MS);
    expect(askedAtHome(world, "again", 4_000)).toMatchObject({ ok: false });
  });
});
