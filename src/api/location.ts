import type { Env } from "../env.ts";
import { directoryView, type View } from "../relay/view.ts";
import { type ClientGeo, type Located, nearestHint, parseDevLocation, positionOf } from "../routing/geo.ts";

/** The directory beside whoever asks. */
export function viewFrom(request: Request, env: Env): Promise<View> {
  return directoryView(env, nearestHint(clientPosition(request, env)));
}

const DEV_LOCATION_HEADER = "x-meridian-dev-location";

/** Where a request's client is. Only a development router lets the client say so itself. */
export function clientPosition(request: Request, env: Env): Located {
  if (env.MERIDIAN_MODE === "development") {
    const told = request.headers.get(DEV_LOCATION_HEADER);
    const geo = told === null ? null : parseDevLocation(told);
    if (geo) return positionOf(geo);
  }
  return positionOf((request.cf ?? {}) as ClientGeo);
}
