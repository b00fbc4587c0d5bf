import { readFileSync } from "node:fs";
import { test } from "vitest";
import { openApiDocument } from "../../../src/api/admin/document.ts";

test("docs/openapi.json is what the schemas say: else run 'node scripts/openapi.ts'", ({ expect }) => {
  const written = readFileSync(new URL("../../../docs/openapi.json", import.meta.url), "utf8");
  expect(JSON.parse(written)).toEqual(JSON.parse(JSON.stringify(openApiDocument())));
});
