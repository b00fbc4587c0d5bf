import type { OpenAPIHono } from "@hono/zod-openapi";
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
import { models } from "./routes.ts";

export function addModels(app: OpenAPIHono<AdminEnv>): void {
  app.openapi(models.create, async (c) => {
    const model = await changed(c, registryOf(c).createModel(c.var.by, c.req.valid("json")));
    setVersion(c, model);
    return c.json(model, 201);
  });

  app.openapi(models.list, async (c) => {
    return c.json(await within(registryOf(c).listModels(pageAsk(c.req.valid("query")))), 200);
  });

  app.openapi(models.get, async (c) => {
    const model = await found(registryOf(c).getModel(c.req.valid("param").id));
    setVersion(c, model);
    return c.json(model, 200);
  });

  app.openapi(models.update, async (c) => {
    const { id } = c.req.valid("param");
    const version = versionIn(c.req.valid("header"));
    const answer = registryOf(c).updateModel(c.var.by, id, version, c.req.valid("json"));
    const model = await changed(c, answer);
    setVersion(c, model);
    return c.json(model, 200);
  });

  app.openapi(models.remove, async (c) => {
    const version = versionIn(c.req.valid("header"));
    await changed(c, registryOf(c).removeModel(c.var.by, c.req.valid("param").id, version));
    return c.body(null, 204);
  });
}
