import type { OpenAPIHono } from "@hono/zod-openapi";
import type { Context } from "hono";
import type { Pool } from "../../catalogue.ts";
import { regionPool } from "../../durable/stub.ts";
import { pooledCells } from "../../routing/cells.ts";
import type { PoolState } from "../../routing/messages.ts";
import { secretsOf } from "../../secrets.ts";
import {
  type AdminEnv,
  changed,
  found,
  pageAsk,
  registryOf,
  setVersion,
  versionIn,
  within,
} from "./context.ts";
import { pools } from "./routes.ts";

export function addPools(app: OpenAPIHono<AdminEnv>): void {
  app.openapi(pools.create, async (c) => {
    const pool = await changed(c, registryOf(c).createPool(c.var.by, c.req.valid("json")));
    setVersion(c, pool);
    return c.json(await withSecret(c, pool), 201);
  });

  app.openapi(pools.list, async (c) => {
    return c.json(await within(registryOf(c).listPools(pageAsk(c.req.valid("query")))), 200);
  });

  app.openapi(pools.get, async (c) => {
    const pool = await found(registryOf(c).getPool(c.req.valid("param").id));
    setVersion(c, pool);
    return c.json({ ...pool, live: await liveStates(c, pool) }, 200);
  });

  app.openapi(pools.update, async (c) => {
    const { id } = c.req.valid("param");
    const version = versionIn(c.req.valid("header"));
    const answer = registryOf(c).updatePool(c.var.by, id, version, c.req.valid("json"));
    const pool = await changed(c, answer);
    setVersion(c, pool);
    return c.json(pool, 200);
  });

  app.openapi(pools.remove, async (c) => {
    const version = versionIn(c.req.valid("header"));
    await changed(c, registryOf(c).removePool(c.var.by, c.req.valid("param").id, version));
    return c.body(null, 204);
  });

  app.openapi(pools.rotateSecret, async (c) => {
    const pool = await changed(c, registryOf(c).rotatePoolSecret(c.var.by, c.req.valid("param").id));
    setVersion(c, pool);
    return c.json(await withSecret(c, pool), 200);
  });

  app.openapi(pools.endRotation, async (c) => {
    const pool = await changed(c, registryOf(c).endPoolRotation(c.var.by, c.req.valid("param").id));
    setVersion(c, pool);
    return c.json(pool, 200);
  });
}

/** How a pool is now, model by model; null where its object cannot be reached. */
export async function liveStates(
  c: Context<AdminEnv>,
  pool: Pool,
): Promise<{ model: string; state: PoolState | null }[]> {
  return Promise.all(
    pool.models.map(async ({ model }) => {
      const stateOf = (cell: number) =>
        within(regionPool(c.env, pool.id, pool.hint, model, cell).state()).catch(() => null);
      const first = await stateOf(0);
      const others = Array.from({ length: (first?.cells ?? 1) - 1 }, (_, index) => stateOf(index + 1));
      const cells = [first, ...(await Promise.all(others))].filter((state) => state !== null);
      return { model, state: first === null ? null : (pooledCells(cells)[0] ?? null) };
    }),
  );
}

async function withSecret(c: Context<AdminEnv>, pool: Pool) {
  const { poolSecret } = await secretsOf(c.env);
  return { ...pool, gateSecret: await poolSecret(pool.id, pool.secretVersion) };
}
