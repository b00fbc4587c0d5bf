import type { Context } from "hono";
import { FailureError } from "../../errors.ts";
import { directoryView, modelOf } from "../../relay/view.ts";
import { nearestHint, parseDevLocation, positionOf } from "../../routing/geo.ts";
import { rank } from "../../routing/rank.ts";
import { clientPosition } from "../location.ts";
import { type AdminEnv, found, registryOf } from "./context.ts";

interface Question {
  readonly model: string;
  readonly location?: string | undefined;
  readonly tenant?: string | undefined;
}

/** The ranking that a request of this tenant from there would get now, by the code that ranks requests. */
export async function explain(c: Context<AdminEnv>, { model, location, tenant }: Question) {
  const client = location === undefined ? clientPosition(c.req.raw, c.env) : positionAt(location);
  const hint = nearestHint(client);
  const view = await directoryView(c.env, hint);
  const { regions = null } = tenant === undefined ? {} : await found(registryOf(c).getTenant(tenant));
  const { catalogue, pools } = view;
  const candidates = rank({
    model: modelOf(view, model),
    pools: catalogue.pools,
    states: pools,
    client,
    regions,
  });
  return {
    model,
    client: { latitude: client.latitude, longitude: client.longitude },
    directory: hint,
    snapshotAgeMs: Date.now() - view.atMs,
    candidates: candidates.map(({ pool, distanceKm, rttMs, waitMs, predictedMs, headroom, excluded }) => ({
      pool: pool.id,
      region: pool.region,
      ...{ distanceKm, rttMs, waitMs, predictedMs, headroom, excluded },
    })),
  };
}

function positionAt(location: string) {
  const geo = parseDevLocation(location);
  const detail = "location: continent, latitude and longitude, as in EU/48.8/2.35";
  if (geo === null) throw new FailureError({ tag: "invalid_field", param: "location", detail });
  return positionOf(geo);
}
