import { describe, expect, it } from "vitest";
import { beatsOf } from "../../../src/api/beats.ts";
import type { Catalogue, Pool } from "../../../src/catalogue.ts";
import type { GateReport, ReplicaReport, Tally } from "../../../src/contract/report.ts";
import { cellOfReplica } from "../../../src/routing/cells.ts";

const version = { version: 1, createdAtMs: 0 };
const MODELS: Catalogue["models"] = [
  { id: "base", kind: "generate", ...version },
  { id: "legal", kind: "generate", servedName: "base-legal", ...version },
];
const POOL: Pool = {
  id: "p",
  region: "r",
  position: { latitude: 0, longitude: 0 },
  hint: "enam",
  gates: ["http://gate"],
  models: MODELS.map(({ id }) => ({ model: id, concurrencyPerReplica: 4 })),
  tokensPerSecond: 900,
  drained: false,
  secretVersion: 1,
  ...version,
};

const replica = (id: string, models: string[]): ReplicaReport => ({
  ...{ id, models, state: "healthy", inFlight: 0, running: 0, waiting: 0, kvCacheUsage: 0 },
  ...{ gpuMemoryUsage: null, bootId: "1" },
});
const tally = (id: string, model: string): Tally => ({
  ...{ replica: id, model, ok: 1, failed: 0, slow: 0, overloaded: 0, tokens: 10 },
});

function beats(replicas: ReplicaReport[], tallies: Tally[] = []) {
  const report: GateReport = {
    ...{ version: 1, pool: "p", gate: "g", sequence: 7, sentAtMs: 0, draining: false },
    ...{ usage: [], replicas, tallies },
  };
  const catalogue = { version: 1, models: MODELS, pools: [POOL] };
  return beatsOf(report, [], POOL, catalogue, (concurrencyPerReplica) => ({
    ...{ catalogueVersion: 1, concurrencyPerReplica, tokensPerSecond: 900 },
  }));
}

describe("a gate's batch", () => {
  it("tells a model of an adapter only of replicas that have loaded it", () => {
    const told = beats(
      [replica("a", ["base"]), replica("b", ["base", "base-legal"])],
      [tally("a", "base"), tally("b", "base-legal")],
    );
    const ids = told.map(({ model, beat }) => [model, beat.replicas.map(({ id }) => id).join()]);
    expect(ids).toEqual([
      ["base", "a,b"],
      ["legal", "b"],
    ]);
    expect(told.map(({ beat }) => beat.tallies.map((one) => one.replica).join())).toEqual(["a", "b"]);
  });

  it("tells every cell of a large pool of its own replicas, each of them once", () => {
    const ids = Array.from({ length: 70 }, (_, index) => `10.0.0.${index}`);
    const told = beats(
      ids.map((id) => replica(id, ["base"])),
      ids.map((id) => tally(id, "base")),
    ).filter(({ model }) => model === "base");
    expect(told.map(({ cell }) => cell)).toEqual([0, 1, 2]);
    expect(told.flatMap(({ beat }) => beat.replicas.map(({ id }) => id)).sort()).toEqual([...ids].sort());
    for (const { cell, beat } of told) {
      expect(beat).toMatchObject({ cells: 3, sequence: 7, config: { tokensPerSecond: 300 } });
      for (const { id } of beat.replicas) expect(cellOfReplica(id, 3)).toBe(cell);
      expect(beat.tallies.map((one) => one.replica)).toEqual(beat.replicas.map(({ id }) => id));
    }
  });

  it("also reaches a model that no replica serves at the moment", () => {
    expect(beats([]).map(({ model, cell, beat }) => [model, cell, beat.replicas])).toEqual([
      ["base", 0, []],
      ["legal", 0, []],
    ]);
  });
});
