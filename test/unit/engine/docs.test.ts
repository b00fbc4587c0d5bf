import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { chatFields } from "../../../src/engine/endpoints/chat.ts";
import { completionsFields } from "../../../src/engine/endpoints/completions.ts";
import { embeddingsFields } from "../../../src/engine/endpoints/embeddings.ts";
import { messagesFields } from "../../../src/engine/endpoints/messages.ts";
import { rerankFields } from "../../../src/engine/endpoints/rerank.ts";
import { responsesFields } from "../../../src/engine/endpoints/responses.ts";
import { scoreFields } from "../../../src/engine/endpoints/score.ts";
import { tokenizeFields } from "../../../src/engine/endpoints/tokenize.ts";
import { ENDPOINTS } from "../../../src/engine/endpoints.ts";
import { engineForbidden } from "../../../src/engine/fields.ts";
import type { RequestFields } from "../../../src/engine/schema.ts";

/** docs/endpoints.md says of every field what the code does with it, and of no other. */

const TABLES: [path: string, fields: RequestFields][] = [
  ["/v1/chat/completions", chatFields],
  ["/v1/completions", completionsFields],
  ["/v1/responses", responsesFields],
  ["/v1/messages", messagesFields],
  ["/v1/embeddings", embeddingsFields],
  ["/v1/rerank", rerankFields],
  ["/v1/score", scoreFields],
  ["/v1/tokenize", tokenizeFields],
];

const page = readFileSync(new URL("../../../docs/endpoints.md", import.meta.url), "utf8");

/** Rows of the section with this heading: first cell without its backticks, second cell. */
function rows(heading: string): [field: string, second: string][] {
  const section = page.split(/^#{2,3} /m).find((one) => one.startsWith(`${heading}\n`)) ?? "";
  return [...section.matchAll(/^\| `([^`]+)` +\| ([^|]*) \|/gm)].map((row) => [row[1]!, row[2]!.trim()]);
}

function decisions(fields: RequestFields): [string, string][] {
  const passing = new Set([...Object.keys(fields.passes), ...Object.keys(fields.stripped)]);
  const refused = Object.keys(fields.forbidden).filter(
    (name) => !passing.has(name) && !Object.hasOwn(engineForbidden, name),
  );
  return [
    ...Object.keys(fields.passes).map((name): [string, string] => [name, "passes"]),
    ...Object.keys(fields.stripped).map((name): [string, string] => [name, "stripped"]),
    ...refused.map((name): [string, string] => [name, "refused"]),
  ];
}

const byName = (a: readonly string[], b: readonly string[]) => a[0]!.localeCompare(b[0]!);

describe("docs/endpoints.md", () => {
  it.each(TABLES)("%s", (path, fields) => {
    expect(rows(`\`${path}\``).sort(byName)).toEqual(decisions(fields).sort(byName));
  });

  it("names what is refused everywhere", () => {
    const named = rows("Refused on every endpoint").map(([field]) => field);
    expect(named.sort()).toEqual(Object.keys(engineForbidden).sort());
  });

  it("covers every endpoint, and every endpoint refuses what is refused everywhere", () => {
    expect(TABLES.map(([path]) => path).sort()).toEqual(ENDPOINTS.map((endpoint) => endpoint.path).sort());
    for (const [, fields] of TABLES) expect(fields.forbidden).toMatchObject(engineForbidden);
  });
});
