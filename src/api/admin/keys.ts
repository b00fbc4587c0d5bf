import type { OpenAPIHono } from "@hono/zod-openapi";
import type { Context } from "hono";
import { KEY_OVERLAP_DEFAULT_MS } from "../../bounds.ts";
import { mintKey } from "../../keys.ts";
import { secretsOf } from "../../secrets.ts";
import { type AdminEnv, changed, found, pageAsk, registryOf } from "./context.ts";
import { keys } from "./routes.ts";

export function addKeys(app: OpenAPIHono<AdminEnv>): void {
  app.openapi(keys.create, async (c) => {
    const { id } = c.req.valid("param");
    const { text, claims } = await mint(c, id);
    const key = await changed(c, registryOf(c).createKey(c.var.by, id, c.req.valid("json"), claims));
    return c.json({ ...key, key: text }, 201);
  });

  app.openapi(keys.list, async (c) => {
    const answer = registryOf(c).listKeys(c.req.valid("param").id, pageAsk(c.req.valid("query")));
    return c.json(await found(answer), 200);
  });

  app.openapi(keys.revoke, async (c) => {
    const { id, keyId } = c.req.valid("param");
    await changed(c, registryOf(c).revokeKey(c.var.by, id, keyId));
    return c.body(null, 204);
  });

  app.openapi(keys.rotate, async (c) => {
    const { id, keyId } = c.req.valid("param");
    // Without a body, Hono checks none and so sets no default.
    const overlapMs = c.req.valid("json").overlapMs ?? KEY_OVERLAP_DEFAULT_MS;
    const { text, claims } = await mint(c, id);
    const key = await changed(c, registryOf(c).rotateKey(c.var.by, id, keyId, overlapMs, claims));
    return c.json({ ...key, key: text }, 201);
  });
}

/** Minted here, so that the secret never leaves this isolate but to the client: the registry gets its hash. */
async function mint(c: Context<AdminEnv>, tenantId: string) {
  const { ref, homeHint } = await found(registryOf(c).getTenant(tenantId));
  const { macKeys, newestMacVersion } = await secretsOf(c.env);
  return mintKey(ref, homeHint, newestMacVersion, macKeys.get(newestMacVersion)!);
}
