import {
  ATTEMPTS_MAX,
  DEATHS_MAX,
  EDGE_GRACE_MS,
  PERMIT_EXTEND_MS,
  START_DEADLINE_MS,
} from "../../../src/bounds.ts";
import { distanceKm, expectedRttMs } from "../../../src/routing/geo.ts";
import { type Candidate, drawn, rank } from "../../../src/routing/rank.ts";
import { gatesOf, Reach } from "../../../src/routing/reach.ts";
import type { Call } from "../cast.ts";
import { mix32 } from "../hash.ts";
import type { Failure } from "../site.ts";
import type { SimDirectory } from "./directory.ts";
import { type City, MODEL } from "./places.ts";
import type { Region } from "./region.ts";
import type { Request, Seen } from "./request.ts";
import { type Resumes, resume } from "./resume.ts";
import { markTried, type Seat, takeSeat } from "./seats.ts";
import type { VirtualTime } from "./virtual-time.ts";

/** One origin call, from the order to the last byte. */
export interface Stream {
  readonly seat: Seat;
  /** Resolves when it ends; how much came before it broke off, where it did. */
  readonly over: Promise<
    { readonly kind: "whole" } | { readonly kind: "cut"; readonly emittedTokens: number }
  >;
}

type Called =
  | { readonly kind: "answer"; readonly stream: Stream }
  | { readonly kind: "retry"; readonly why: Failure | "unreachable" };

/** A location's Worker: ranks, gets a seat, calls, fails over, and carries streams on (DESIGN §1, §6). */
export class Edge {
  readonly city: City;
  readonly time: VirtualTime;
  readonly counts = { failedStatic: 0, failovers: 0 };
  readonly random: () => number;
  readonly resumes: Resumes;
  readonly #regions: ReadonlyMap<string, Region>;
  readonly #directory: SimDirectory;
  readonly #timeoutMs: number;
  /** Regions that this location cannot reach at present. */
  readonly cutOff = new Set<string>();
  readonly reach = new Reach();

  constructor(options: {
    readonly city: City;
    readonly time: VirtualTime;
    readonly random: () => number;
    readonly resumes: Resumes;
    readonly regions: ReadonlyMap<string, Region>;
    readonly directory: SimDirectory;
    readonly firstTokenTimeoutMs: number;
  }) {
    this.city = options.city;
    this.time = options.time;
    this.random = options.random;
    this.resumes = options.resumes;
    this.#regions = options.regions;
    this.#directory = options.directory;
    this.#timeoutMs = options.firstTokenTimeoutMs + EDGE_GRACE_MS;
  }

  regionOf({ pool }: Candidate): Region {
    return this.#regions.get(pool.id)!;
  }

  /** One request, from its arrival to the last byte that its client gets. */
  async infer(call: Call): Promise<Seen> {
    const atMs = this.time.nowMs;
    const request: Request = {
      ...{ id: `req_${call.index}`, hash: mix32(call.index), call, candidates: this.#ranked(call) },
      ...{ atMs, startByMs: atMs + START_DEADLINE_MS, tried: new Map(), attempts: 0, resumes: 0, deaths: 0 },
    };
    const seen = { call, city: this.city.name, atMs, region: null, firstTokenMs: null, ...UNBROKEN };
    let error = "no_capacity";
    while (request.attempts < ATTEMPTS_MAX && this.time.nowMs < request.startByMs) {
      const seat = await takeSeat(this, request, true);
      if (seat === null) break;
      const called = await this.call(seat, call);
      request.attempts += 1;
      if (called.kind === "answer") {
        const firstTokenMs = this.time.nowMs - atMs;
        const rest = await this.#pipe(request, called.stream);
        const region = seat.candidate.pool.id;
        return { ...seen, ...rest, region, attempts: request.attempts, firstTokenMs, error: null };
      }
      error = called.why;
      this.counts.failovers += 1;
      seat.release(called.why === "overloaded" ? "overloaded" : "failed");
      markTried(request, seat, called.why === "unreachable");
      if (called.why === "died") request.deaths += 1;
      if (request.deaths >= DEATHS_MAX) break;
    }
    return { ...seen, attempts: request.attempts, endMs: this.time.nowMs, end: "error", error };
  }

  /** Orders one call and waits for its first token, which is when a gate answers. */
  async call(seat: Seat, call: Call): Promise<Called> {
    const region = this.regionOf(seat.candidate);
    const wayMs = this.#wayMs(region);
    await this.time.sleep(wayMs);
    // A tunnel without its gate says so at once; a way that is cut is given up when connecting takes too long.
    if (this.cutOff.has(region.pool.id)) await this.time.sleep(CONNECT_TIMEOUT_MS);
    if (this.cutOff.has(region.pool.id) || !region.isReachable) {
      await this.time.sleep(wayMs);
      this.reach.missed(gatesOf(region.pool.id), this.time.nowMs);
      return { kind: "retry", why: "unreachable" };
    }
    const first = Promise.withResolvers<Called>();
    const over = Promise.withResolvers<Awaited<Stream["over"]>>();
    const later = (run: () => void) => this.time.events.after(wayMs, run);
    region.order(seat, seat.id, call, {
      firstToken: () => later(() => first.resolve({ kind: "answer", stream: { seat, over: over.promise } })),
      ended: () => later(() => over.resolve({ kind: "whole" })),
      failed: (why, emittedTokens) =>
        later(() => {
          first.resolve({ kind: "retry", why });
          over.resolve({ kind: "cut", emittedTokens });
        }),
    });
    const called = await this.time.within(first.promise, this.#timeoutMs);
    if (called?.kind === "answer") seat.started();
    if (called !== null) {
      this.reach.reached(gatesOf(region.pool.id));
      return called;
    }
    region.site.abort(seat.replica, seat.id);
    return { kind: "retry", why: "silent" };
  }

  /** Sends something to a pool's object and brings its answer back. It never comes where there is no way. */
  async ask<T>(candidate: Candidate, run: () => T): Promise<T> {
    const region = this.regionOf(candidate);
    await this.time.sleep(this.#wayMs(region));
    if (this.cutOff.has(region.pool.id) || region.objectIsLost) return new Promise<T>(() => undefined);
    const answer = run();
    await this.time.sleep(this.#wayMs(region));
    return answer;
  }

  async #pipe(
    request: Request,
    stream: Stream,
  ): Promise<Pick<Seen, "endMs" | "end" | "brokeAtMs" | "pausedMs">> {
    const over = await this.#kept(stream);
    if (over.kind === "whole") {
      stream.seat.release("answered");
      return { endMs: this.time.nowMs, end: "whole", ...UNBROKEN };
    }
    stream.seat.release("failed");
    const brokeAtMs = this.time.nowMs;
    const next = await resume(this, request, stream.seat, over.emittedTokens);
    if (next === null) return { endMs: this.time.nowMs, end: "cut", brokeAtMs, pausedMs: null };
    const pausedMs = this.time.nowMs - brokeAtMs;
    const rest = await this.#kept(next);
    next.seat.release(rest.kind === "whole" ? "answered" : "failed");
    return { endMs: this.time.nowMs, end: rest.kind, brokeAtMs, pausedMs };
  }

  /** Extends the permit for as long as the stream runs. */
  async #kept(stream: Stream): Promise<Awaited<Stream["over"]>> {
    for (;;) {
      const over = await this.time.within(stream.over, PERMIT_EXTEND_MS);
      if (over !== null) return over;
      stream.seat.extend();
    }
  }

  /** Nothing is measured and nothing turned away is remembered: distance and the directory's word decide. */
  #ranked({ band, estimatedTokens }: Call): Candidate[] {
    const { nowMs } = this.time;
    const ranked = rank({
      ...{ model: MODEL, client: this.city.position, regions: null, band, promptTokens: estimatedTokens },
      pools: [...this.#regions.values()].map(({ pool }) => pool),
      states: this.#directory.view(nowMs),
      ...{ nowMs, rtts: new Map(), turned: new Map() },
    });
    return drawn(ranked, this.random);
  }

  #wayMs({ pool }: Region): number {
    return expectedRttMs(distanceKm(this.city.position, pool.position)) / 2;
  }
}

const UNBROKEN = { brokeAtMs: null, pausedMs: null };
/** How long the platform tries to connect to an origin that does not answer. */
const CONNECT_TIMEOUT_MS = 5_000;
