import { OpenAPIHono } from "@hono/zod-openapi";
import type { JSONValue } from "hono/utils/types";
import * as controlGroups from "./control-routes.ts";
import * as groups from "./routes.ts";

export const ADMIN_PATH = "/admin/v1";

/** Every route, in the order of the documentation. `tenants.create` is `tenants_create` to client generators. */
export const ROUTES = Object.entries({ ...groups, ...controlGroups }).flatMap(([group, routes]) =>
  Object.entries(routes).map(([name, route]) => ({
    ...route,
    operationId: `${group}_${name}`,
    tags: [group],
  })),
);

/** The admin API in OpenAPI 3.1. */
export function openApiDocument(): Record<string, JSONValue> {
  const { openAPIRegistry, getOpenAPI31Document } = new OpenAPIHono();
  openAPIRegistry.registerComponent("securitySchemes", "adminKey", { type: "http", scheme: "bearer" });
  for (const route of ROUTES) openAPIRegistry.registerPath({ ...route, path: `${ADMIN_PATH}${route.path}` });
  const document = getOpenAPI31Document({
    openapi: "3.1.0",
    info: {
      title: "Meridian admin API",
      version: "1",
      description: "Tenants, keys, models and pools of a Meridian deployment. See docs/admin-api.md.",
    },
    security: [{ adminKey: [] }],
  });
  return document as unknown as Record<string, JSONValue>;
}
