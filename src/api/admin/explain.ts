import type { Context } from "hono";
import { FailureError } from "../../errors.ts";
import { rankNow } from "../../relay/ranking.ts";
import { directoryView, modelOf } from "../../relay/view.ts";
import { type Located, nearestHint, parseDevLocation, positionOf } from "../../routing/geo.ts";
import type { Band } from "../../routing/messages.ts";
import type { Candidate } from "../../routing/rank.ts";
import { clientPosition } from "../location.ts";
import { type AdminEnv, found, registryOf } from "./context.ts";

interface Question {
  readonly model: string;
  readonly location?: string | undefined;
  readonly country?: string | undefined;
  readonly continent?: string | undefined;
  readonly colo?: string | undefined;
  readonly tenant?: string | undefined;
  readonly promptTokens: number;
  readonly band: Band;
}

/** The ranking that a request of this tenant from there would get now, by the code that ranks requests. */
export async function explain(c: Context<AdminEnv>, question: Question) {
  const { model, tenant, promptTokens, band } = question;
  const client = placeOf(question) ?? clientPosition(c.req.raw, c.env);
  const hint = nearestHint(client);
  const view = await directoryView(c.env, hint);
  const { regions = null } = tenant === undefined ? {} : await found(registryOf(c).getTenant(tenant));
  const candidates = rankNow(view, modelOf(view, model), { client, regions, promptTokens, band });
  return {
    ...{ model, promptTokens, band },
    client: { latitude: client.latitude, longitude: client.longitude, source: client.source },
    directory: hint,
    snapshotAgeMs: Date.now() - view.atMs,
    candidates: candidates.map(toldOf),
  };
}

function toldOf({ pool, rtt, headroom, excluded, lastResort, ...of }: Candidate) {
  return {
    ...{ pool: pool.id, region: pool.region, excluded, lastResort, headroom },
    share: rounded(of.share, 4),
    distanceKm: Math.round(of.distanceKm),
    rttMs: Math.round(rtt.usedMs),
    rtt: {
      expectedMs: rounded(rtt.expectedMs),
      measuredMs: rtt.measuredMs === null ? null : rounded(rtt.measuredMs),
      samples: rounded(rtt.samples),
      usedMs: rounded(rtt.usedMs),
    },
    waitMs: rounded(of.waitMs),
    prefillMs: rounded(of.prefillMs),
    predictedMs: rounded(of.predictedMs),
    stateAgeMs: of.stateAgeMs,
  };
}

/** For people to read: binary fractions have long tails. */
function rounded(value: number, places = 2): number {
  return Math.round(value * 10 ** places) / 10 ** places;
}

/** Null where the question names no place: then it is the caller's own. */
function placeOf({ location, country, continent, colo }: Question): Located | null {
  if (location === undefined) {
    return (country ?? continent ?? colo) === undefined ? null : positionOf({ country, continent, colo });
  }
  const geo = parseDevLocation(location);
  const detail = "location: continent, latitude and longitude, as in EU/48.8/2.35";
  if (geo === null) throw new FailureError({ tag: "invalid_field", param: "location", detail });
  return positionOf(geo);
}
