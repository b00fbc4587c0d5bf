import type { OpenAPIHono } from "@hono/zod-openapi";
import type { Context } from "hono";
import type { Pool } from "../../catalogue.ts";
import { regionPool } from "../../durable/stub.ts";
import { FailureError } from "../../errors.ts";
import type { BreakerOrder, BreakersView, PoolState } from "../../routing/messages.ts";
import { type AdminEnv, changed, found, pageAsk, registryOf, within } from "./context.ts";
import { liveStates } from "./pools.ts";
import { breakers } from "./routes.ts";

export function addBreakers(app: OpenAPIHono<AdminEnv>): void {
  app.openapi(breakers.list, async (c) => {
    const page = await within(registryOf(c).listPools(pageAsk(c.req.valid("query"))));
    const perPool = await Promise.all(
      page.data.map(async (pool) =>
        (await liveStates(c, pool)).map(({ model, state }) => shown(pool.id, model, state)),
      ),
    );
    return c.json({ data: perPool.flat(), nextCursor: page.nextCursor }, 200);
  });

  app.openapi(breakers.override, async (c) => {
    const { pool: id, model } = c.req.valid("param");
    const { replica = null, state, reason, expiresInMs } = c.req.valid("json");
    const pool = await found(registryOf(c).getPool(id));
    if (!pool.models.some((entry) => entry.model === model)) {
      throw new FailureError({ tag: "not_found", what: `model '${model}' in pool '${id}'` });
    }
    const before = await viewOf(c, pool, model);
    if (replica !== null && !isKnown(before, replica)) throw unknownReplica(replica);
    const atMs = Date.now();
    const expiresAtMs = expiresInMs === undefined ? null : atMs + expiresInMs;
    const { actor } = c.var.by;
    const order: BreakerOrder = {
      replica,
      override: state === "automatic" ? null : { state, reason, by: actor, atMs, expiresAtMs },
    };
    // First the record, then the deed: nothing is forced of which the audit log knows nothing.
    const earlier = before.breakers?.overrides.find((held) => held.replica === replica) ?? null;
    const said = { replica, state, reason, expiresAtMs };
    await changed(c, registryOf(c).recordOverride(c.var.by, id, model, earlier, said));
    const stub = regionPool(c.env, pool.id, pool.hint, model);
    const view: BreakersView | null = await within(stub.overrideBreaker(order));
    if (view === null) throw unknownReplica(replica ?? "");
    return c.json(shown(pool.id, model, await viewOf(c, pool, model)), 200);
  });
}

async function viewOf(c: Context<AdminEnv>, pool: Pool, model: string): Promise<PoolState> {
  return within(regionPool(c.env, pool.id, pool.hint, model).state());
}

/** One that is gone may still be held, and then its hold can be taken back. */
function isKnown({ replicas, breakers: view }: PoolState, replica: string): boolean {
  const held = view?.overrides.some((override) => override.replica === replica) ?? false;
  return held || replicas.some(({ id }) => id === replica);
}

function unknownReplica(replica: string): FailureError {
  return new FailureError({ tag: "not_found", what: `replica '${replica}'` });
}

function shown(pool: string, model: string, state: PoolState | null) {
  const { breakers: view } = state ?? {};
  return {
    pool,
    model,
    state: view?.state ?? null,
    share: state?.breakerShare ?? null,
    replicas: state?.replicas.map(({ id, breaker, usable }) => ({ id, breaker, usable })) ?? null,
    overrides: view?.overrides ?? [],
    transitions: view?.transitions.toReversed() ?? [],
  };
}
