import type { OpenAPIHono } from "@hono/zod-openapi";
import { homeOf, tenantBudget } from "../../durable/stub.ts";
import { FailureError } from "../../errors.ts";
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
import { tenants } from "./routes.ts";

export function addTenants(app: OpenAPIHono<AdminEnv>): void {
  app.openapi(tenants.create, async (c) => {
    const tenant = await changed(c, registryOf(c).createTenant(c.var.by, c.req.valid("json")));
    setVersion(c, tenant);
    return c.json(tenant, 201);
  });

  app.openapi(tenants.list, async (c) => {
    return c.json(await within(registryOf(c).listTenants(pageAsk(c.req.valid("query")))), 200);
  });

  app.openapi(tenants.get, async (c) => {
    const tenant = await found(registryOf(c).getTenant(c.req.valid("param").id));
    setVersion(c, tenant);
    return c.json(tenant, 200);
  });

  app.openapi(tenants.update, async (c) => {
    const { id } = c.req.valid("param");
    const version = versionIn(c.req.valid("header"));
    const answer = registryOf(c).updateTenant(c.var.by, id, version, c.req.valid("json"));
    const tenant = await changed(c, answer);
    setVersion(c, tenant);
    return c.json(tenant, 200);
  });

  app.openapi(tenants.remove, async (c) => {
    const version = versionIn(c.req.valid("header"));
    await changed(c, registryOf(c).removeTenant(c.var.by, c.req.valid("param").id, version));
    return c.body(null, 204);
  });

  app.openapi(tenants.usage, async (c) => {
    const tenant = await found(registryOf(c).getTenant(c.req.valid("param").id));
    const budget = tenantBudget(c.env, homeOf(tenant.ref, tenant.homeHint));
    const usage = await within(budget.usage()).catch((error: unknown) => {
      throw unavailable(String(error));
    });
    if (usage === null) throw unavailable("the budget object knows no such tenant");
    return c.json({ tenantId: tenant.id, ...usage }, 200);
  });
}

function unavailable(internalDetail: string): FailureError {
  return new FailureError({ tag: "budget_unavailable", retryAfterMs: 1_000, internalDetail });
}
