import type { OpenAPIHono } from "@hono/zod-openapi";
import { APPROVAL_DEFAULT_MS } from "../../bounds.ts";
import { STEPS } from "../../catalogue.ts";
import { stanceOf } from "../../routing/degrade.ts";
import { type AdminEnv, changed, found, pageAsk, registryOf, within } from "./context.ts";
import { approvals, controls } from "./control-routes.ts";

/** Steps of the ladder by hand, approvals, and the end of a rollout. */
export function addControls(app: OpenAPIHono<AdminEnv>): void {
  app.openapi(controls.list, async (c) => {
    const registry = registryOf(c);
    const model = await found(registry.getModel(c.req.valid("param").id));
    const [overrides, catalogue] = await Promise.all([
      within(registry.listOverrides(model.id)),
      within(registry.catalogue(-1)),
    ]);
    const inForce = catalogue?.controls ?? [];
    const steps = STEPS.map((step) => ({
      step,
      stance: stanceOf(model, step, inForce, Date.now()),
      override: overrides.find((override) => override.step === step) ?? null,
    }));
    return c.json({ model: model.id, steps }, 200);
  });

  app.openapi(controls.override, async (c) => {
    const { id, step } = c.req.valid("param");
    const { mode, reason, expiresInMs } = c.req.valid("json");
    const untilMs = expiresInMs === undefined ? null : Date.now() + expiresInMs;
    const ask = { step, mode, reason, untilMs };
    const made = await changed(c, registryOf(c).overrideStep(c.var.by, id, ask));
    return made.kind === "override" ? c.json(made.override, 200) : c.json(made.approval, 202);
  });

  app.openapi(controls.clear, async (c) => {
    const { id, step } = c.req.valid("param");
    await changed(c, registryOf(c).clearStep(c.var.by, id, step));
    return c.body(null, 204);
  });

  app.openapi(controls.rollBack, async (c) => {
    const data = await changed(c, registryOf(c).rollBack(c.var.by, c.req.valid("param").id));
    return c.json({ data }, 200);
  });

  app.openapi(approvals.list, async (c) => {
    return c.json(await within(registryOf(c).listApprovals(pageAsk(c.req.valid("query")))), 200);
  });

  app.openapi(approvals.propose, async (c) => {
    const proposed = await changed(c, registryOf(c).propose(c.var.by, c.req.valid("json")));
    return c.json(proposed, 201);
  });

  app.openapi(approvals.approve, async (c) => {
    // Without a body, Hono checks none and so sets no default.
    const forMs = c.req.valid("json").forMs ?? APPROVAL_DEFAULT_MS;
    return c.json(await changed(c, registryOf(c).approve(c.var.by, c.req.valid("param").id, forMs)), 200);
  });

  app.openapi(approvals.reject, async (c) => {
    return c.json(await changed(c, registryOf(c).reject(c.var.by, c.req.valid("param").id)), 200);
  });
}
