import type { Call } from "./cast.ts";
import { dice, mix32 } from "./hash.ts";
import type { Answer, Router } from "./router.ts";

/**
 * The policies that ours is measured against, as their sources describe them. All of them send at once and leave the
 * queueing to the engine; none has a limit per replica.
 */
export const BASELINES = [
  "random",
  "round-robin",
  "least-load",
  "chwbl",
  "cache-aware",
  "cache-aware-tree",
] as const;
export type BaselineName = (typeof BASELINES)[number];

export function baseline(name: BaselineName, replicas: readonly string[], seed: number): Router {
  switch (name) {
    case "random":
      return new Baseline(replicas, (call) => Math.floor(dice(seed, call.index, 5) * replicas.length));
    case "round-robin": {
      let turn = 0;
      return new Baseline(replicas, () => turn++ % replicas.length);
    }
    case "least-load":
      return new Baseline(replicas, (call, loads) => leastOf(loads, call, seed));
    case "chwbl": {
      const ring = new Ring(replicas.length, seed);
      return new Baseline(replicas, (call, loads) => ring.pick(keyOf(call), loads));
    }
    case "cache-aware":
    case "cache-aware-tree": {
      const trees = new CacheAware(replicas.length, name === "cache-aware-tree");
      return new Baseline(replicas, (call, loads) => trees.pick(call, loads));
    }
  }
}

type Pick = (call: Call, loads: readonly number[]) => number;

class Baseline implements Router {
  readonly #replicas: readonly string[];
  readonly #pick: Pick;
  readonly #loads: number[];
  readonly #at = new Map<string, number>();

  constructor(replicas: readonly string[], pick: Pick) {
    this.#replicas = replicas;
    this.#pick = pick;
    this.#loads = replicas.map(() => 0);
  }

  acquire(call: Call, id: string): Answer {
    const at = this.#pick(call, this.#loads);
    this.#loads[at]! += 1;
    this.#at.set(id, at);
    return { kind: "granted", replica: this.#replicas[at]! };
  }

  release(id: string): readonly [] {
    const at = this.#at.get(id);
    if (at !== undefined) this.#loads[at]! -= 1;
    this.#at.delete(id);
    return [];
  }

  started(): readonly [] {
    return [];
  }
  extend(): void {}
  heartbeat(): readonly [] {
    return [];
  }
  sweep(): readonly [] {
    return [];
  }
  nextDeadlineMs(): null {
    return null;
  }
}

/** Of equals any one, so that the first in the list has no advantage. */
function leastOf(loads: readonly number[], call: Call, seed: number): number {
  const least = Math.min(...loads);
  const equals = loads.flatMap((load, at) => (load === least ? [at] : []));
  return equals[Math.floor(dice(seed, call.index, 6) * equals.length)]!;
}

/** What the first 1,024 tokens are, which is past the system prompt that all share. */
function keyOf(call: Call): number {
  return call.names[1] ?? call.names[0] ?? mix32(call.index);
}

const VIRTUAL_NODES = 256;
const LOAD_FACTOR = 1.25;

/**
 * Consistent hashing with bounded loads (Mirrokni et al. 2016), as KubeAI sets it: 256 virtual nodes, factor 1.25. The
 * bound is rounded up, as in HAProxy: KubeAI's would turn the second request of an idle pool away.
 */
class Ring {
  readonly #points: readonly { readonly hash: number; readonly replica: number }[];

  constructor(replicas: number, seed: number) {
    const node = (index: number) => {
      const replica = Math.floor(index / VIRTUAL_NODES);
      return { hash: mix32(mix32(seed + 1) ^ mix32(index + 17)), replica };
    };
    const points = Array.from({ length: replicas * VIRTUAL_NODES }, (_, index) => node(index));
    this.#points = points.sort((one, other) => one.hash - other.hash);
  }

  pick(key: number, loads: readonly number[]): number {
    const total = loads.reduce((sum, load) => sum + load, 0);
    const bound = Math.ceil((LOAD_FACTOR * (total + 1)) / loads.length);
    const points = this.#points;
    const hash = mix32(key % 2 ** 32);
    let [low, high] = [0, points.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (points[middle]!.hash < hash) low = middle + 1;
      else high = middle;
    }
    for (let step = 0; step < points.length; step += 1) {
      const { replica } = points[(low + step) % points.length]!;
      if (loads[replica]! + 1 <= bound) return replica;
    }
    throw new Error("chwbl: the bounds of all replicas together are more than all requests");
  }
}

const MATCH_MIN = 0.5;
const IMBALANCE_ABSOLUTE = 32;
const IMBALANCE_RELATIVE = 1.1;

/**
 * SGLang's `cache_aware`: the replica whose tree of past prompts matches more than half of this one; the shortest queue
 * where none does, and also once loads differ by more than 32 and by a tenth. Its description says that an unmatched
 * prompt goes to the smallest tree, its code (sgl-model-gateway, policies/cache_aware.rs) sends it to the shortest
 * queue; `cache-aware-tree` is the description. Trees are never full here: a trace of 12,000 requests over eight
 * replicas stays below its bound of 10,000 nodes.
 */
class CacheAware {
  readonly #trees: readonly { readonly blocks: Set<number>; tokens: number }[];
  readonly #unmatchedToSmallestTree: boolean;

  constructor(replicas: number, unmatchedToSmallestTree: boolean) {
    this.#trees = Array.from({ length: replicas }, () => ({ blocks: new Set<number>(), tokens: 0 }));
    this.#unmatchedToSmallestTree = unmatchedToSmallestTree;
  }

  pick(call: Call, loads: readonly number[]): number {
    const at = this.#choose(call, loads);
    const tree = this.#trees[at]!;
    for (const block of call.blocks) {
      if (!tree.blocks.has(block)) tree.tokens += call.promptTokens / call.blocks.length;
      tree.blocks.add(block);
    }
    return at;
  }

  #choose(call: Call, loads: readonly number[]): number {
    const [most, least] = [Math.max(...loads), Math.min(...loads)];
    const shortest = loads.indexOf(least);
    if (most - least > IMBALANCE_ABSOLUTE && most > IMBALANCE_RELATIVE * least) return shortest;
    const matches = this.#trees.map(({ blocks }) => {
      const miss = call.blocks.findIndex((block) => !blocks.has(block));
      return (miss < 0 ? call.blocks.length : miss) / call.blocks.length;
    });
    const best = Math.max(...matches);
    if (best > MATCH_MIN) return matches.indexOf(best);
    if (!this.#unmatchedToSmallestTree) return shortest;
    const sizes = this.#trees.map(({ tokens }) => tokens);
    return sizes.indexOf(Math.min(...sizes));
  }
}
