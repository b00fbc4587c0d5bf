import { LEASE_HINT_MS, OBJECT_CALL_TIMEOUT_MS } from "../../src/bounds.ts";
import type { BlockClaim, ReserveAnswer } from "../../src/limits/messages.ts";
import type { Run } from "./gate.ts";
import type { Load } from "./schedule.ts";
import { askOf, PLACES } from "./tenant.ts";
import type { World } from "./world.ts";

/** Longest pause between a reservation and the engine's start: the origin token allows a minute. */
const SLOW_START_MAX_MS = 30_000;

/** What is known of a request once it may run. */
type Admitted = Pick<Run, "id" | "at" | "claim" | "finishEagerly"> & {
  readonly outputCapTokens: number | null;
};

/**
 * Clients, and the Workers that they reach: one of each at every place. Where objects share a place, each request picks one:
 * whatever an isolate keeps to, it may have been at any of them before.
 */
export class Clients {
  readonly #world: World;
  /** A Worker asks its location's own object while it believes that a lease is there. */
  readonly #askHereUntilMs: number[] = [];
  #requests = 0;

  constructor(world: World) {
    this.#world = world;
  }

  load(region: number, load: Load): void {
    for (let index = 0; index < load.requests; index += 1) {
      this.#world.events.after(index * load.gapMs, () => this.#arrive(region, load));
    }
  }

  #arrive(region: number, load: Load): void {
    const world = this.#world;
    const { endUserLimits, weights } = world.setting;
    const id = `req_${++this.#requests}`;
    const users = Object.keys(endUserLimits).length > 0 ? [null, "one", "other"] : [null];
    const ask = askOf(id, PLACES[region]!, load.promptTokens, world.random.pick(users), weights);
    const here = region === 0 || world.events.nowMs < (this.#askHereUntilMs[region] ?? 0);
    const server = here ? world.sites.anyOf(region) : 0;
    const drawn = world.isolates[region]!.draw(server, ask);
    if (drawn !== null) {
      const { claim, outputCapTokens } = drawn;
      world.tally.admitted += 1;
      world.tally.beside += 1;
      world.tally.drawn += 1;
      this.#run(region, load, { id, at: server, claim, outputCapTokens, finishEagerly: false });
      return;
    }
    let answered = false;
    const reply = (answer: ReserveAnswer, forwarded: boolean) =>
      this.#send(region, server, () => {
        if (answered) return;
        answered = true;
        this.#answered(region, load, id, answer, forwarded);
      });
    this.#send(region, server, () => {
      if (server === 0) world.home.reserve(ask, (answer) => reply(answer, region !== 0));
      else world.holders[server - 1]!.reserve(ask, reply);
    });
    world.events.after(OBJECT_CALL_TIMEOUT_MS, () => {
      if (answered) return;
      answered = true;
      // Whoever admitted it after all gets to know that nothing runs, if this arrives.
      for (const at of new Set([server, 0])) this.#cancel(region, at, id, null);
    });
  }

  #answered(region: number, load: Load, id: string, answer: ReserveAnswer, forwarded: boolean): void {
    const { events, tally } = this.#world;
    if (!answer.ok) {
      tally.refused += 1;
      return;
    }
    tally.admitted += 1;
    if (!forwarded) tally.beside += 1;
    if (answer.leaseHere) this.#askHereUntilMs[region] = events.nowMs + LEASE_HINT_MS;
    const { finishEagerly, outputCapTokens } = answer;
    const at = this.#world.sites.indexOf(answer.at);
    this.#run(region, load, { id, at, claim: null, outputCapTokens, finishEagerly });
  }

  #run(region: number, load: Load, admitted: Admitted): void {
    const { events, gates, random } = this.#world;
    const { at, claim, finishEagerly, id, outputCapTokens } = admitted;
    if (random.chance(30)) {
      this.#cancel(region, at, id, claim);
      return;
    }
    const promptTokens = Math.max(1, load.promptTokens + load.missedTokens);
    const capTokens = outputCapTokens ?? Infinity;
    const races = this.#world.races.isDrawn();
    const run: Run = {
      ...{ id, at, claim, finishEagerly },
      // The first replica may have failed before it made anything.
      attempt: random.chance(50) ? 1 : 0,
      promptTokens,
      outputTokens: Math.min(load.outputTokens, capTokens),
      tokensPerSecond: load.tokensPerSecond,
      // One JSON would be made twice.
      unsent: random.chance(100) && !races,
      generatedTokens: 0,
      state: "runs",
      retryIn: 0,
      retries: 0,
    };
    const delayMs = random.chance(20) ? random.int(0, SLOW_START_MAX_MS) : random.int(1, 300);
    const startMs = races ? this.#world.races.begin(region, run) : delayMs;
    events.after(startMs, () => gates[region]!.start(run));
  }

  #cancel(region: number, at: number, id: string, claim: BlockClaim | null): void {
    this.#send(region, at, () => this.#world.object(at).end("cancel", id, claim ?? undefined));
  }

  #send(region: number, at: number, deliver: () => void): void {
    this.#world.network.send(`worker:${region}`, this.#world.sites.latencyMs(region, at), deliver);
  }
}
