import fc from "fast-check";
import { describe, test } from "vitest";
import { app } from "../../src/api/admin/app.ts";
import { openApiDocument } from "../../src/api/admin/document.ts";
import { ADMIN_BODY_MAX_BYTES } from "../../src/bounds.ts";
import { ask, call } from "./admin-client.ts";

interface Operation {
  readonly operationId: string;
  readonly parameters?: readonly { name: string; in: string; required: boolean; schema: object }[];
  readonly requestBody?: { content: Record<string, { schema: object }> };
  readonly responses: Record<string, { description: string; content?: Record<string, { schema: object }> }>;
}
interface Document {
  readonly openapi: string;
  readonly info: { title: string; version: string };
  readonly security: readonly object[];
  readonly paths: Record<string, Record<string, Operation>>;
  readonly components: { schemas: Record<string, object>; securitySchemes: Record<string, object> };
}

describe("OpenAPI", () => {
  const document = openApiDocument() as unknown as Document;
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  );

  test("is served to admins as it is generated", async ({ expect }) => {
    const served = await ask<Document>("GET", "/openapi.json");
    expect(served.json).toEqual(JSON.parse(JSON.stringify(document)));
  });

  test("lists exactly the routes that are served", ({ expect }) => {
    const served = app.routes
      .filter(({ method }) => method !== "ALL")
      .map(({ method, path }) => `${method.toLowerCase()} ${path.replaceAll(/:([^/]+)/g, "{$1}")}`);
    const listed = operations.map(({ method, path }) => `${method} ${path}`);
    expect(new Set(served)).toEqual(new Set(listed));
    expect(listed.length).toBeGreaterThan(20);
  });

  test("has the structure of 3.1", ({ expect }) => {
    expect(document.openapi).toMatch(/^3\.1\./);
    expect([document.info.title, document.info.version].every((text) => text.length > 0)).toBe(true);
    for (const requirement of document.security) {
      expect(Object.keys(document.components.securitySchemes)).toEqual(
        expect.arrayContaining(Object.keys(requirement)),
      );
    }
    const ids = operations.map(({ operation }) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
    for (const { path, operation } of operations) {
      expect(path).toMatch(/^\/admin\/v1\//);
      const inPath = (operation.parameters ?? []).filter((parameter) => parameter.in === "path");
      expect(inPath.map(({ name }) => `{${name}}`)).toEqual(path.match(/\{\w+\}/g) ?? []);
      expect(inPath.every(({ required }) => required)).toBe(true);
      expect(Object.keys(operation.responses)).toContain("default");
      for (const [status, response] of Object.entries(operation.responses)) {
        expect(status).toMatch(/^(default|[1-5]\d\d)$/);
        expect(response.description.length).toBeGreaterThan(0);
      }
    }
  });

  test("every reference leads somewhere, and nothing is left over from 3.0", ({ expect }) => {
    const text = JSON.stringify(document);
    const references = [...text.matchAll(/"\$ref":"([^"]+)"/g)].map(([, reference]) => reference!);
    expect(references.length).toBeGreaterThan(20);
    for (const reference of references) {
      const [, name] = /^#\/components\/schemas\/(\w+)$/.exec(reference) ?? [];
      expect(document.components.schemas).toHaveProperty(name!);
    }
    expect(text).not.toContain('"nullable":');
  });
});

describe("errors", () => {
  test("each has OpenAI's shape and names the field", async ({ expect }) => {
    const body = { id: "shape", name: "x" };
    const cases: [unknown, string, string | null][] = [
      [{ ...body, limits: { tokensPerMinute: -1 } }, "invalid_value", "limits.tokensPerMinute"],
      [{ ...body, limits: { tokensPerHour: 1 } }, "unknown_parameter", "limits.tokensPerHour"],
      [{ ...body, colour: "red" }, "unknown_parameter", "colour"],
      [{ ...body, models: ["ok", ""] }, "invalid_value", "models.1"],
      [{ name: "x" }, "invalid_value", "id"],
      [{ ...body, id: "Not A Slug" }, "invalid_value", "id"],
      [[], "invalid_value", "body"],
      [null, "invalid_value", "body"],
    ];
    for (const [sent, code, param] of cases) {
      const answer = await ask("POST", "/tenants", { body: sent });
      expect([answer.status, answer.json.error.code, answer.json.error.param]).toEqual([400, code, param]);
      expect(Object.keys(answer.json.error).sort()).toEqual(["code", "message", "param", "type"]);
    }
  });

  test("bad JSON, another media type and a large body have statuses of their own", async ({ expect }) => {
    const bad = await ask("POST", "/tenants", { text: "{" });
    expect([bad.status, bad.json.error.code]).toEqual([400, "invalid_json"]);
    const headers = { "content-type": "text/plain" };
    expect((await ask("POST", "/tenants", { text: "{}", headers })).status).toBe(415);
    const text = JSON.stringify({ id: "large", name: "x".repeat(ADMIN_BODY_MAX_BYTES) });
    const large = await ask("POST", "/tenants", { text });
    expect([large.status, large.json.error.code]).toEqual([413, "body_too_large"]);
  });

  test("unknown routes are 404, wrong methods 405 with what is allowed", async ({ expect }) => {
    for (const path of [
      "/admin",
      "/admin/",
      "/admin/v1",
      "/admin/v1/nothing",
      "/admin/v1/tenants/",
      "/admin/v2",
    ]) {
      const answer = await call("GET", path);
      expect([path, answer.status, answer.json.error.code]).toEqual([path, 404, "unknown_url"]);
    }
    const wrong = await ask("PUT", "/tenants/acme");
    expect([wrong.status, wrong.headers.get("allow")]).toEqual([405, "GET, PATCH, DELETE"]);
    expect((await ask("POST", "/audit", { body: {} })).headers.get("allow")).toBe("GET");
  });
});

describe("whatever is sent, the answer is no 500", () => {
  const FIELDS = [
    "id",
    "name",
    "limits",
    "tokensPerMinute",
    "models",
    "model",
    "regions",
    "suspended",
    "gates",
  ];
  const MORE = [
    "position",
    "latitude",
    "hint",
    "region",
    "overlapMs",
    "expiresAtMs",
    "kind",
    "drained",
    "__proto__",
  ];
  const scalar = fc.oneof(
    fc.constantFrom(
      null,
      true,
      0,
      -1,
      1e308,
      2 ** 53,
      "",
      "\ud800",
      "\u0000",
      "m",
      "weur",
      "debt",
      "https://g.example",
    ),
    fc.string({ unit: "binary", maxLength: 20 }),
    fc.double(),
  );
  const { noise } = fc.letrec((tie) => ({
    value: fc.oneof({ maxDepth: 3 }, scalar, tie("noise"), fc.array(tie("value"), { maxLength: 3 })),
    noise: fc.dictionary(fc.constantFrom(...FIELDS, ...MORE), tie("value"), { maxKeys: 3 }),
  }));
  const position = { latitude: 1, longitude: 2 };
  const sound = fc.constantFrom<object>(
    { id: "acme", name: "Acme" },
    { id: "m" },
    { id: "p", region: "r", position, hint: "oc", gates: ["https://g.example"], models: [{ model: "m" }] },
    { name: "k" },
    {},
  );
  /** A good body, often with something in it that is not. */
  const body = fc
    .tuple(sound, fc.oneof(fc.constant({}), noise as fc.Arbitrary<object>))
    .map(([good, bad]) => ({ ...good, ...bad }));
  const oddId = fc.oneof(fc.constantFrom("a%2Fb", "%00", "%ff", "%", "..", "x".repeat(300)), fc.webSegment());
  const id = fc.oneof({ arbitrary: fc.constantFrom("acme", "m", "p"), weight: 3 }, oddId);
  const route = fc.constantFrom(
    ...["/tenants", "/tenants/{}", "/tenants/{}/keys", "/tenants/{}/keys/{}", "/tenants/{}/keys/{}/rotate"],
    ...[
      "/tenants/{}/usage",
      "/models",
      "/models/{}",
      "/pools",
      "/pools/{}",
      "/pools/{}/rotate-secret",
      "/pools/{}/end-rotation",
      "/audit",
    ],
  );
  const method = fc.constantFrom("GET", "POST", "PATCH", "DELETE");

  test("for any body, id and version", async ({ expect }) => {
    const ifMatch = fc.constantFrom(undefined, '"1"', '"0"', '"999999999999999"', "1", "*");
    const statuses = new Set<number>();
    const property = fc.asyncProperty(
      method,
      route,
      id,
      body,
      ifMatch,
      async (verb, path, name, sent, version) => {
        const hasBody = verb === "POST" || verb === "PATCH";
        const answer = await ask(verb, path.replaceAll("{}", name), {
          ...(hasBody ? { body: sent } : {}),
          ...(version === undefined ? {} : { headers: { "if-match": version } }),
        });
        statuses.add(answer.status);
        expect(answer.status).toBeLessThan(500);
        if (answer.status >= 400) expect(answer.json.error.message).toEqual(expect.any(String));
      },
    );
    await fc.assert(property, { numRuns: 2_000 });
    // It got past the checks, too.
    expect([...statuses]).toEqual(expect.arrayContaining([200, 201, 204, 400, 404, 409, 428]));
  });

  test("for any query and any text as body", async ({ expect }) => {
    const query = fc.webQueryParameters();
    const text = fc.oneof(
      fc.json(),
      fc.string({ unit: "binary", maxLength: 50 }),
      fc.constant("[".repeat(5_000)),
    );
    await fc.assert(
      fc.asyncProperty(route, query, text, async (path, parameters, sent) => {
        const read = await ask("GET", `${path.replaceAll("{}", "m")}?${parameters}`);
        const write = await ask("POST", path.replaceAll("{}", "m"), { text: sent });
        expect(Math.max(read.status, write.status)).toBeLessThan(500);
      }),
      { numRuns: 150 },
    );
  });
});
