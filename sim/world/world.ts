import { REQUEST_DEADLINE_MS, START_DEADLINE_MS } from "../../src/bounds.ts";
import type { BudgetPlace, Limits } from "../../src/catalogue.ts";
import { settleTime } from "../../src/limits/account.ts";
import { limitsOf } from "../../src/limits/book.ts";
import { UNITS_PER_TOKEN } from "../../src/limits/bucket.ts";
import { isClosed } from "../../src/limits/lease-holder.ts";
import type { ReserveAnswer } from "../../src/limits/messages.ts";
import { Clients } from "./clients.ts";
import { Clock } from "./clock.ts";
import { Events } from "./events.ts";
import { SimGate } from "./gate.ts";
import { gateWorldOf } from "./gate-world.ts";
import { Ghost } from "./ghost.ts";
import { SimHolder } from "./holder.ts";
import { SimHome } from "./home.ts";
import { type IsolateWorld, NO_BLOCKS, SimIsolate } from "./isolate.ts";
import { Network } from "./network.ts";
import type { Surroundings } from "./object.ts";
import { PROTOCOL, type Protocol } from "./protocol.ts";
import { Races } from "./races.ts";
import { type Random, randomFrom } from "./random.ts";
import {
  type Action,
  actionOf,
  type Load,
  type Schedule,
  type Setting,
  type Siege,
  scaled,
  settingOf,
} from "./schedule.ts";
import { Sites } from "./sites.ts";
import { checkStill } from "./still.ts";
import { Store } from "./store.ts";
import { Tally } from "./tally.ts";
import { recordOf } from "./tenant.ts";
import { check } from "./violation.ts";

/** All is over and told that long after the last action: written-off leases, voided reservations, a full bucket. */
const QUIET_MS = 3 * (REQUEST_DEADLINE_MS + START_DEADLINE_MS) + 30 * 60_000;

/** One home, its holders, a gate and clients at each place, and a network between them; the ghost sees all of it. */
export class World {
  readonly events = new Events();
  readonly random: Random;
  readonly sites: Sites;
  readonly network: Network;
  readonly home: SimHome;
  readonly holders: readonly SimHolder[];
  readonly isolates: readonly SimIsolate[];
  readonly gates: readonly SimGate[];
  readonly ghost: Ghost;
  readonly races: Races;
  readonly tally = new Tally();
  readonly setting: Setting;
  readonly #clients: Clients;
  /** From now on nothing fails. */
  healed = false;
  #version = 1;
  #limits: Limits;

  constructor(seed: number, setting: Setting, protocol: Protocol = PROTOCOL) {
    this.setting = setting;
    this.#limits = setting.limits;
    this.random = randomFrom(seed ^ 0x2545f491);
    this.sites = new Sites(setting, this.random);
    this.network = new Network(this.events, this.random, setting.net);
    const clocks = setting.driftPerMille.map(
      (drift, index) => new Clock(drift, setting.offsetMs[index]!, () => this.events.nowMs),
    );
    const around: Surroundings = {
      events: this.events,
      random: this.random,
      crashPerMille: () => (this.healed ? 0 : setting.crashPerMille),
      twinMayWrite: protocol.shell.twinMayWrite,
      answersBeforeWriting: protocol.shell.answersBeforeWriting,
      committed: (region) => this.ghost.stepped(region),
      returned: (region) => this.ghost.returned(region),
    };
    const record = recordOf(setting.limits, setting, this.#version);
    const { shell } = protocol;
    this.home = new SimHome(0, clocks[0]!, new Store(record, protocol.homePurse, shell), around);
    this.holders = clocks.slice(1).map((clock, index) => {
      const place = this.sites.place(index + 1);
      return new SimHolder(place, index + 1, clock, new Store(record, protocol.leasePurse, shell), around);
    });
    for (const object of [this.home, ...this.holders]) object.protocol = protocol;
    this.ghost = new Ghost(this.home, this.holders, setting.weights);
    this.#connect();
    const regions = Array.from({ length: this.sites.regions }, (_, region) => region);
    const gateWorld = gateWorldOf(this);
    this.gates = regions.map((region) => new SimGate(region, gateWorld));
    this.isolates = regions.map((region) => this.#isolate(region, protocol));
    this.races = new Races(this, seed);
    this.#clients = new Clients(this);
  }

  /** Does everything that a schedule says, then lets the world come to rest. Throws a Violation. */
  play(schedule: Schedule): this {
    for (const seed of schedule.actions) {
      const action = actionOf(seed, this.sites.regions);
      this.run(action.afterMs);
      this.#act(action);
    }
    this.run(this.random.int(0, 30_000));
    this.rest();
    return this;
  }

  run(forMs: number): void {
    const untilMs = this.events.nowMs + forMs;
    while (this.events.step(untilMs));
    this.events.nowMs = untilMs;
  }

  /** L1: with messages delivered and nobody asking, every lease closes and every bucket is full again. */
  rest(): void {
    this.healed = true;
    this.network.heal();
    this.run(QUIET_MS);
    const { store, clock } = this.home;
    for (const scope of store.scopes()) {
      const limits = limitsOf(store.record, scope);
      // All overrun is debt, which takes its own time to be paid at what may be a much lower limit by now.
      const debtMs = (this.ghost.overrunTokens * 60_000) / (limits.tokensPerMinute ?? Infinity);
      const atMs = clock.nowMs() + Math.ceil(debtMs);
      const account = settleTime(store.account(scope)!, limits, atMs);
      const { heldTokens, leased, open, requests, tokens } = account;
      const out = heldTokens + leased.tokens + leased.requests + leased.slots + open;
      check(out === 0, "L1", () => `${scope} still has out ${JSON.stringify({ heldTokens, leased, open })}`);
      const full = (levelUnits: number, limit = 0) => levelUnits === limit * UNITS_PER_TOKEN;
      const whole =
        full(tokens.levelUnits, limits.tokensPerMinute) &&
        full(requests.levelUnits, limits.requestsPerMinute);
      check(whole, "L1", () => `${scope} is not full: ${tokens.levelUnits}, ${requests.levelUnits}`);
    }
    for (const holder of this.holders) {
      for (const scope of holder.store.scopes()) {
        const lease = holder.store.account(scope)!;
        check(isClosed(lease), "L1", () => `${holder.place} never closed ${JSON.stringify(lease)}`);
      }
    }
    checkStill(this.home, this.holders);
  }

  load(region: number, load: Load): void {
    this.#clients.load(region, load);
  }

  object(region: number): SimHome | SimHolder {
    return region === 0 ? this.home : this.holders[region - 1]!;
  }

  /** The registry's outbox tries until the home has it. */
  setLimits(limits: Limits): void {
    this.#limits = limits;
    const record = recordOf(limits, this.setting, ++this.#version);
    const deliver = (): void => {
      if (this.home.store.record.tenant.version >= record.tenant.version) return;
      this.ghost.limitsChange();
      this.home.configure(record);
      const taken = this.home.store.record.tenant.version === record.tenant.version;
      if (taken) this.ghost.limitsChanged();
      else this.events.after(1_000, deliver);
    };
    deliver();
  }

  #act(action: Action): void {
    const { region } = action;
    switch (action.kind) {
      case "load":
        this.load(region, action);
        return;
      case "cut": {
        const end = action.link === "home" ? this.sites.anyOf(region) : region;
        this.network.cut(`${action.link}:${end}`, action.forMs, action.holds);
        return;
      }
      case "siege":
        this.#besiege(region, action);
        return;
      case "crash":
        this.object(this.sites.anyOf(region)).crashNext = action.when;
        return;
      case "evict":
        this.object(this.sites.anyOf(region)).crash();
        return;
      case "twin":
        this.object(this.sites.anyOf(region)).splitOff(action.forMs);
        return;
      case "step":
        if (action.of === "isolate") this.isolates[region]!.step(action.byMs);
        else this.object(this.sites.anyOf(region)).clock.step(action.byMs);
        return;
      case "limits":
        this.setLimits(scaled(this.#limits, action.perMille));
        return;
      case "leave":
        this.gates[region]!.leave();
        return;
      case "isolate_dies":
        this.isolates[region]!.die();
        return;
      case "gate_dies":
        this.gates[region]!.die();
    }
  }

  #besiege(region: number, siege: Siege): void {
    const { againMs, first, freezes, holds, second } = siege;
    const startMs = this.random.int(3_000, 15_000);
    this.load(region, first);
    this.events.after(startMs, () => {
      this.network.cut(`home:${region}`, againMs + this.random.int(0, 60_000), holds);
      if (freezes) this.object(region).freeze(againMs - startMs - 1_000);
    });
    this.events.after(againMs, () => this.load(region, second));
    this.events.after(againMs + this.random.int(0, 90_000), () => this.load(region, second));
  }

  /** Calls between objects: the request and each answer travel as messages of their own. */
  #connect(): void {
    for (const holder of this.holders) {
      const link = `home:${holder.region}`;
      const latencyMs = this.sites.latencyMs(0, holder.region);
      const send = (deliver: () => void) => this.network.send(link, latencyMs, deliver);
      holder.home = {
        after: (delayMs, run) => this.events.after(delayMs, run),
        reserve: (ask, reply) =>
          send(() => this.home.reserve(ask, (answer: ReserveAnswer) => send(() => reply(answer)))),
        renew: (messages, reply) =>
          send(() => this.home.renew(messages, (answer) => send(() => reply(answer)))),
      };
    }
    this.home.recall = (name, scope, keepTokens) => {
      const at = this.sites.indexOf(name as BudgetPlace);
      const recall = () => this.holders[at - 1]?.recalled(scope, keepTokens);
      this.network.send(`home:${at}`, this.sites.latencyMs(0, at), recall);
    };
  }

  #isolate(region: number, protocol: Protocol): SimIsolate {
    const { blocks, driftPerMille, offsetMs } = this.setting;
    const { leastRequests, perSecond, share } = blocks ?? NO_BLOCKS;
    // Another machine than the object's.
    const clock = new Clock(-driftPerMille[region]!, offsetMs[region]! + 7, () => this.events.nowMs);
    const world: IsolateWorld = {
      after: (delayMs, run) => this.events.after(delayMs, run),
      blocks: (from, at, ask, told, reply) => {
        const send = (deliver: () => void) =>
          this.network.send(`worker:${from}`, this.sites.latencyMs(from, at), deliver);
        const sizing = { share, leastRequests };
        send(() => this.object(at).blocks(ask, told, sizing, (answer) => send(() => reply(answer))));
      },
      isAt: (at, object) => this.sites.regionOf(object) === at,
      drew: (at, drawn) => this.ghost.drew(at, drawn),
    };
    return new SimIsolate(region, clock, protocol, world, { perSecond });
  }
}

/** One schedule from its seeds alone. */
export function playSchedule(schedule: Schedule, protocol: Protocol = PROTOCOL): World {
  return new World(schedule.seed, settingOf(schedule.seed), protocol).play(schedule);
}
