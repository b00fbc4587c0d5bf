import type { Catalogue, Model, Pool } from "../catalogue.ts";
import type { GateReport } from "../contract/report.ts";
import { cellOfReplica, cellsFor, shareOf } from "../routing/cells.ts";
import type { Heartbeat, PoolConfig } from "../routing/messages.ts";
import { countedPrompts, servedPrompts, type Ticketed } from "./counted.ts";

/** What one pool object hears of a gate's batch. */
export interface Beat {
  readonly model: string;
  readonly cell: number;
  readonly beat: Heartbeat;
}

/**
 * A gate's batch by pool object. Each model's object hears of the replicas that serve it under its served name, be it a
 * base or an adapter; a pool of several cells is dealt out by replica. Which cell a request ran in is not known here, so
 * all hear how it fared; who did not place it does not mind.
 */
export function beatsOf(
  report: GateReport,
  entries: readonly Ticketed[],
  pool: Pool,
  catalogue: Catalogue,
  configOf: (concurrencyPerReplica: number, model: Model | undefined) => PoolConfig,
): Beat[] {
  const { gate, sequence, draining } = report;
  return pool.models.flatMap(({ model, concurrencyPerReplica }) => {
    const known = catalogue.models.find(({ id }) => id === model);
    const served = known?.servedName ?? model;
    const replicas = report.replicas.filter((replica) => replica.models.includes(served));
    const tallies = report.tallies.filter((tally) => tally.model === served);
    const told = { counted: countedPrompts(entries, model), served: servedPrompts(entries, model) };
    const cells = cellsFor(replicas.length);
    const config = shareOf(configOf(concurrencyPerReplica, known), cells);
    return Array.from({ length: cells }, (_, cell) => {
      const isHere = (replica: string) => cellOfReplica(replica, cells) === cell;
      const beat: Heartbeat = {
        ...{ gate, sequence, draining, config, cells, served: told.served },
        // Learned once, by the first.
        counted: cell === 0 ? told.counted : [],
        replicas: replicas.filter(({ id }) => isHere(id)),
        tallies: tallies.filter(({ replica }) => isHere(replica)),
      };
      return { model, cell, beat };
    });
  });
}
