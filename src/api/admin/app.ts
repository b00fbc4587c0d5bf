import { OpenAPIHono } from "@hono/zod-openapi";
import type { MiddlewareHandler } from "hono";
import { bodyLimit } from "hono/body-limit";
import { ADMIN_BODY_MAX_BYTES } from "../../bounds.ts";
import type { Env } from "../../env.ts";
import { errorResponse, FailureError } from "../../errors.ts";
import { secretsOf } from "../../secrets.ts";
import { addBreakers } from "./breakers.ts";
import type { AdminEnv } from "./context.ts";
import { addControls } from "./controls.ts";
import { ADMIN_PATH, ROUTES } from "./document.ts";
import { addKeys } from "./keys.ts";
import { addModels } from "./models.ts";
import { addOperations } from "./operations.ts";
import { addPools } from "./pools.ts";
import { failureOf, failureOfThrown } from "./problems.ts";
import { addTenants } from "./tenants.ts";

/** Answers every path under /admin. Whoever has no admin key learns nothing, not even which paths exist. */
export async function admin(request: Request, env: Env, ctx: ExecutionContext): Promise<Response> {
  return app.fetch(request, env, ctx);
}

const onlyAdmins: MiddlewareHandler<AdminEnv> = async (c, next) => {
  c.header("cache-control", "no-store");
  const requestId = crypto.randomUUID();
  c.header("x-request-id", requestId);
  const [, bearer] = /^Bearer +(\S+) *$/i.exec(c.req.header("authorization") ?? "") ?? [];
  const { adminOf } = await secretsOf(c.env);
  const actor = bearer === undefined ? null : await adminOf(bearer);
  if (actor === null) throw new FailureError({ tag: "admin_required" });
  c.set("by", { requestId, actor });
  await next();
};

export const app = build();

function build(): OpenAPIHono<AdminEnv> {
  const inner = new OpenAPIHono<AdminEnv>({
    defaultHook: (result, c) => {
      if (result.success) return;
      const unversioned = result.target === "header" && c.req.header("if-match") === undefined;
      throw new FailureError(unversioned ? { tag: "version_required" } : failureOf(result.error));
    },
  });
  addTenants(inner);
  addKeys(inner);
  addModels(inner);
  addPools(inner);
  addBreakers(inner);
  addControls(inner);
  addOperations(inner);

  const outer = new OpenAPIHono<AdminEnv>();
  outer.use(onlyAdmins);
  outer.use(
    bodyLimit({
      maxSize: ADMIN_BODY_MAX_BYTES,
      onError: () => {
        throw new FailureError({ tag: "body_too_large", limitBytes: ADMIN_BODY_MAX_BYTES });
      },
    }),
  );
  outer.route(ADMIN_PATH, inner);
  outer.notFound((c) => {
    const { method, path } = c.req;
    const allowed = methodsAt(new URL(c.req.url).pathname);
    if (allowed.length === 0) throw new FailureError({ tag: "route_not_found", method, path });
    throw new FailureError({ tag: "method_not_allowed", allowed: allowed.join(", ") });
  });
  outer.onError((error, c) => {
    const failure = failureOfThrown(error);
    if ("internalDetail" in failure) {
      console.error(JSON.stringify({ event: "failure", tag: failure.tag, detail: failure.internalDetail }));
    }
    // Headers that middleware has set so far: the request's id, and that nobody may store this.
    return errorResponse(failure, "openai", c.res.headers);
  });
  return outer;
}

/** Methods that some route has for this path. */
function methodsAt(pathname: string): string[] {
  const segments = pathname.split("/");
  const matching = ROUTES.filter((route) => {
    const pattern = `${ADMIN_PATH}${route.path}`.split("/");
    return (
      pattern.length === segments.length &&
      pattern.every((part, at) => (part.startsWith("{") ? segments[at] !== "" : part === segments[at]))
    );
  });
  return matching.map((route) => route.method.toUpperCase());
}
