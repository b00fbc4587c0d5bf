import { CELL_REPLICAS_MAX } from "../bounds.ts";
import { hashOf } from "./hash.ts";
import { BANDS, type Band, type PoolConfig, type PoolState, type Work } from "./messages.ts";

/**
 * A pool with more replicas than one object should carry is split into cells, each an object of its own with its own
 * replicas, queue and prefix index. How many there are follows from the replicas that gates report, so nobody configures
 * it. Replicas and requests go to cells by rendezvous hashing (Thaler and Ravishankar 1998): one more cell takes its part
 * from all others and moves nothing between them. Cells are near this size and not below it: a hash does not deal evenly.
 */
export function cellsFor(replicas: number): number {
  return Math.max(1, Math.ceil(replicas / CELL_REPLICAS_MAX));
}

export function cellOfReplica(replicaId: string, cells: number): number {
  return cellsInOrder(`replica\n${replicaId}`, cells)[0]!;
}

/** Cells in the order in which a request asks them: its own first. The same key has the same order. */
export function cellsInOrder(key: string, cells: number): number[] {
  if (cells <= 1) return [0];
  return Array.from({ length: cells }, (_, cell) => [hashOf(key, `cell ${cell}\n`), cell] as const)
    .sort(([one, first], [other, second]) => other - one || first - second)
    .map(([, cell]) => cell);
}

/** Blocks of a prompt that decide on its cell: past a system prompt that most of a tenant's requests share. */
const KEY_BLOCKS = 8;

/**
 * What keeps a conversation in one cell, where its prefix is: its session, else its first blocks, as far as they do not
 * grow any more. `fallback` for requests that have neither: any cell is as good.
 */
export function cellKey({ session, blocks }: Work, fallback: string): string {
  if (session !== null) return `session\n${session}`;
  const name = blocks[Math.min(blocks.length, KEY_BLOCKS) - 1];
  return name === undefined ? `request\n${fallback}` : `blocks\n${name}`;
}

/** What the whole pool may serve is dealt out evenly. */
export function shareOf(config: PoolConfig, cells: number): PoolConfig {
  const { tokensPerSecond } = config;
  if (tokensPerSecond === null || cells === 1) return config;
  return { ...config, tokensPerSecond: Math.max(1, Math.floor(tokensPerSecond / cells)) };
}

/** Cells of one pool and model as one pool, for who ranks regions and looks at them. */
export function pooledCells(states: readonly PoolState[]): PoolState[] {
  const pools = Map.groupBy(states, ({ pool, model }) => `${pool}/${model}`);
  return [...pools.values()].map((cells) => (cells.length === 1 ? cells[0]! : together(cells)));
}

function together(cells: readonly PoolState[]): PoolState {
  const [first] = [...cells].sort((one, other) => (one.cell ?? 0) - (other.cell ?? 0));
  const sum = (of: (cell: PoolState) => number) => cells.reduce((total, cell) => total + of(cell), 0);
  const waits = bandsOf(cells, ({ waitMs }) => waitMs);
  const errors = bandsOf(cells, ({ waitErrors }) => waitErrors);
  return {
    ...first!,
    epoch: Math.max(...cells.map(({ epoch }) => epoch)),
    atMs: Math.min(...cells.map(({ atMs }) => atMs)),
    replicas: cells.flatMap(({ replicas }) => replicas),
    capacity: sum(({ capacity }) => capacity),
    inUse: sum(({ inUse }) => inUse),
    waiting: sum(({ waiting }) => waiting),
    // A request goes to one cell by its key: what it meets there on average, by how many go there.
    ...(waits && { waitMs: mapBands((band) => mean(waits, cells, band)) }),
    ...(errors && {
      waitErrors: mapBands((band) =>
        errors[0]![band].map((_, bin) => errors.reduce((total, one) => total + one[band][bin]!, 0)),
      ),
    }),
  };
}

/** Null unless every cell tells it. */
function bandsOf<T>(
  cells: readonly PoolState[],
  of: (cell: PoolState) => Readonly<Record<Band, T>> | undefined,
): Readonly<Record<Band, T>>[] | null {
  const told = cells.flatMap((cell) => of(cell) ?? []);
  return told.length === cells.length ? told : null;
}

function mean(
  waits: readonly Readonly<Record<Band, number>>[],
  cells: readonly PoolState[],
  band: Band,
): number {
  const weights = cells.map(({ capacity }) => capacity);
  const weight = weights.reduce((total, one) => total + one, 0);
  if (weight === 0) return Math.min(...waits.map((one) => one[band]));
  return waits.reduce((total, one, index) => total + one[band] * weights[index]!, 0) / weight;
}

function mapBands<T>(of: (band: Band) => T): Record<Band, T> {
  return Object.fromEntries(BANDS.map((band) => [band, of(band)])) as Record<Band, T>;
}
