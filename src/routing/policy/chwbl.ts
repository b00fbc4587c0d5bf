import { hashOf } from "../hash.ts";
import type { Work } from "../messages.ts";
import { type Choice, leastBy, type Policy } from "./policy.ts";

const LOAD_FACTOR = 1.25;
/** However few run, two of one key fit: without a floor the second would always go elsewhere. */
const LOAD_FLOOR = 2;
const VIRTUAL_NODES = 256;
/** Rings that are kept, one for each set of replicas with room: 12 KB each with eight replicas. */
const RINGS_MAX = 64;
/** The key lies at least so deep in the prompt. */
const KEY_MIN_TOKENS = 1_024;

/**
 * Consistent hashing with bounded loads (arXiv 1608.01350): clockwise from the key's place, the first replica whose
 * load with this request stays within `max(floor, ⌈factor · mean⌉)`.
 *
 * The key must lie past what all prompts share, or all have the same (replay: keyed inside the system prompt it is no
 * better than random). So it is the chain at 1,024 tokens, or behind what every replica has of this prompt
 * already: only a shared start is at so many. Shorter prompts are keyed by all that they have.
 */
export function chwbl(): Policy {
  const rings = new Map<string, Ring>();
  return (choices, work) => {
    if (work.blocks.length === 0) return leastBy(choices, ({ requests }) => requests);
    const ids = choices.map(({ id }) => id).join("\n");
    if (rings.size >= RINGS_MAX) rings.clear();
    const ring = rings.get(ids) ?? ringOf(choices);
    rings.set(ids, ring);
    const total = choices.reduce((sum, { requests }) => sum + requests, 0);
    const shares = choices.reduce((sum, { share }) => sum + share, 0);
    const passed = new Set<number>();
    const from = placeOf(ring, keyOf(choices, work));
    for (let step = 0; step < ring.owners.length && passed.size < choices.length; step++) {
      const at = ring.owners[(from + step) % ring.owners.length]!;
      if (passed.has(at)) continue;
      passed.add(at);
      const { requests, share } = choices[at]!;
      const bound = Math.max(LOAD_FLOOR, Math.ceil((LOAD_FACTOR * (total + 1) * share) / shares));
      if (requests + 1 <= bound) return at;
    }
    return leastBy(choices, ({ requests, share }) => requests / share);
  };
}

interface Ring {
  /** Sorted. */
  readonly places: Float64Array;
  /** Whose place it is: an index into the choices. */
  readonly owners: readonly number[];
}

function ringOf(choices: readonly Choice[]): Ring {
  const nodes = choices.flatMap(({ id }, owner) =>
    Array.from({ length: VIRTUAL_NODES }, (_, node) => ({ place: hashOf(`${id}/${node}`), owner })),
  );
  nodes.sort((a, b) => a.place - b.place);
  return {
    places: Float64Array.from(nodes, ({ place }) => place),
    owners: nodes.map(({ owner }) => owner),
  };
}

/** The first place at or after the key; past the last one the ring begins anew. */
function placeOf({ places }: Ring, key: number): number {
  let [low, high] = [0, places.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (places[middle]! < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

function keyOf(choices: readonly Choice[], { blocks, blockTokens }: Work): number {
  // Of one or two replicas, all having it says nothing.
  const shared = choices.length < 3 ? 0 : Math.min(...choices.map(({ cachedTokens }) => cachedTokens));
  const past = Math.max(Math.ceil(KEY_MIN_TOKENS / blockTokens) - 1, Math.floor(shared / blockTokens));
  // Names need not be spread over the ring evenly; their hashes are.
  return hashOf(String(blocks[Math.min(past, blocks.length - 1)]));
}
