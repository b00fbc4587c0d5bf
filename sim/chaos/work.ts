import { random } from "./random.ts";

/** What one client asks, and what happens around it. All of it follows from the seed. */
export interface Request {
  readonly index: number;
  readonly round: number;
  readonly endpoint: "chat" | "completions" | "messages" | "responses";
  readonly stream: boolean;
  readonly text: string;
  readonly maxTokens: number;
  readonly location: string;
  /** After the round began. */
  readonly startMs: number;
}

export interface Kill {
  readonly round: number;
  readonly atMs: number;
  readonly what: "replica" | "gate" | "region" | "edge";
  readonly region: string;
}

export interface Work {
  readonly requests: readonly Request[];
  readonly kills: readonly Kill[];
}

const LOCATIONS = ["NA/40/-75", "EU/50/4", "AS/2/104"];
const REGIONS = ["us-east", "eu-west", "ap-southeast"];
const KILLS = ["replica", "gate", "region", "edge"] as const;
const TEXTS = [
  "Tell me of lighthouses and the people who keep them.",
  "请写一首关于灯塔、海与渡船的长诗，慢慢写。",
  "Write a parser: `function parse(text: string): Node[] { return []; }`",
  "Once upon a time 😀🚢🌊 there was a harbour",
];
/** Streams of one round begin within this time. */
const SPREAD_MS = 900;
export const ROUND_STREAMS = 25;

/**
 * Rounds of some streams each; in the middle of a round something is killed. A stream is carried on once, so the next
 * kill waits until all of a round have ended. The edge, and with it every object, is killed while no stream runs: of
 * an edge that dies under a stream its client hears, and no router can change that.
 */
export function plan(streams: number, seed: number): Work {
  const next = random(seed);
  const pick = <Item>(items: readonly Item[]): Item => items[Math.floor(next() * items.length)]!;
  const rounds = Math.ceil(streams / ROUND_STREAMS);
  const requests = Array.from({ length: streams }, (_, index): Request => {
    const endpoint = pick(["chat", "chat", "chat", "completions", "messages", "responses"] as const);
    const length = 120 + Math.floor(next() * 130);
    return {
      index,
      round: Math.floor(index / ROUND_STREAMS),
      endpoint,
      stream: next() < 0.88,
      text: `${index}: ${pick(TEXTS)} [len=${length}]`,
      maxTokens: next() < 0.3 ? 30 + Math.floor(next() * 60) : 400,
      location: pick(LOCATIONS),
      startMs: Math.floor(next() * SPREAD_MS),
    };
  });
  const kills = Array.from({ length: rounds }, (_, round): Kill => {
    const what = round < KILLS.length ? KILLS[round]! : pick(KILLS);
    return { round, what, region: pick(REGIONS), atMs: Math.floor(700 + next() * 700) };
  });
  return { requests, kills };
}
