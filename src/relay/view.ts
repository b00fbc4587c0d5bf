import { DIRECTORY_FRESH_MS, DIRECTORY_STALE_MAX_MS, OBJECT_CALL_TIMEOUT_MS } from "../bounds.ts";
import type { Catalogue, LocationHint, Model } from "../catalogue.ts";
import { withDeadline } from "../deadline.ts";
import { directory } from "../durable/stub.ts";
import type { Env } from "../env.ts";
import { FailureError } from "../errors.ts";
import { pooled } from "../limits/learn.ts";
import type { Learned } from "../limits/messages.ts";
import { pooledCells } from "../routing/cells.ts";
import type { MeasuredRtt, PoolState } from "../routing/messages.ts";
import { takeMeasured } from "./measure.ts";

/** The directory as this isolate last saw it: plain data, shared by its requests. */
export interface View {
  readonly catalogue: Catalogue;
  readonly pools: readonly PoolState[];
  /** By model: what its pools have learned of its prompts. */
  readonly learned: ReadonlyMap<string, Learned>;
  /** By pool: round trips, as this location measured them. */
  readonly rtts: ReadonlyMap<string, MeasuredRtt>;
  readonly atMs: number;
}

const views = new Map<LocationHint, View>();

/**
 * The directory's snapshot, at most `DIRECTORY_FRESH_MS` old while the directory can be reached. When it cannot, the
 * last one serves on (fail static). Every request that finds it stale fetches for itself: in a Worker no request may
 * wait for a promise of another.
 */
export async function directoryView(env: Env, hint: LocationHint): Promise<View> {
  const known = views.get(hint);
  const nowMs = Date.now();
  if (known && nowMs - known.atMs < DIRECTORY_FRESH_MS) return known;
  try {
    const snapshot = await withDeadline(
      directory(env, hint).snapshot(known?.catalogue.version ?? -1, takeMeasured(hint)),
      OBJECT_CALL_TIMEOUT_MS,
    );
    const catalogue = (snapshot.catalogue as Catalogue | null) ?? known?.catalogue;
    if (!catalogue) throw new Error("the directory sent no catalogue");
    const cells = snapshot.pools as readonly PoolState[];
    const rtts = new Map((snapshot.rtts ?? []).map((measured) => [measured.pool, measured]));
    const view = { catalogue, pools: pooledCells(cells), learned: learnedOf(cells), rtts, atMs: nowMs };
    views.set(hint, view);
    return view;
  } catch (error) {
    if (known && nowMs - known.atMs < DIRECTORY_STALE_MAX_MS) return known;
    const internalDetail = `directory out of reach: ${String(error)}`;
    throw new FailureError({ tag: "directory_unavailable", retryAfterMs: 2_000, internalDetail });
  }
}

function learnedOf(pools: readonly PoolState[]): ReadonlyMap<string, Learned> {
  const byModel = Map.groupBy(pools, ({ model }) => model);
  return new Map(
    [...byModel].map(([model, states]) => [model, pooled(states.flatMap(({ learned }) => learned ?? []))]),
  );
}

export function modelOf(view: View, name: string): Model {
  const model = view.catalogue.models.find(({ id }) => id === name);
  if (!model) throw new FailureError({ tag: "model_not_found", model: name });
  return model;
}
