import type { OpenAPIHono } from "@hono/zod-openapi";
import type { JSONValue } from "hono/utils/types";
import type { AuditEntry } from "../../durable/registry/messages.ts";
import { type AdminEnv, changed, pageAsk, registryOf, within } from "./context.ts";
import { openApiDocument } from "./document.ts";
import { explain } from "./explain.ts";
import { operations } from "./routes.ts";

export function addOperations(app: OpenAPIHono<AdminEnv>): void {
  app.openapi(operations.explain, async (c) => c.json(await explain(c, c.req.valid("query")), 200));

  app.openapi(operations.audit, async (c) => {
    const page = await within(registryOf(c).listAudit(pageAsk(c.req.valid("query"))));
    return c.json({ data: page.data.map(shown), nextCursor: page.nextCursor }, 200);
  });

  app.openapi(operations.quarantine, async (c) => {
    return c.json(await within(registryOf(c).listQuarantine(pageAsk(c.req.valid("query")))), 200);
  });

  app.openapi(operations.release, async (c) => {
    await changed(c, registryOf(c).releaseQuarantine(c.var.by, c.req.valid("param").fingerprint));
    return c.body(null, 204);
  });

  app.openapi(operations.openapi, (c) => c.json(openApiDocument(), 200));
}

function shown({ before, after, ...entry }: AuditEntry) {
  return { ...entry, before: parsed(before), after: parsed(after) };
}

function parsed(json: string | null): Record<string, JSONValue> | null {
  return json === null ? null : (JSON.parse(json) as Record<string, JSONValue>);
}
