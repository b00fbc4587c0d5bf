import type { Attribute, Attributes, ProviderSchema } from "./schema.ts";
import type { HclFile } from "./toolchain.ts";

/**
 * Terraform takes unknown keys inside nested attributes without a word (`pth = …` in an ingress passes validate), so
 * they are compared with the schema here. Where a value is an expression, the keys of the objects written in it are
 * looked at, wherever in the nested attribute they may stand; a reference to a local is followed.
 */
export function unknownKeys(files: readonly HclFile[], schemas: readonly ProviderSchema[]): string[] {
  const locals = new Map(
    files.flatMap(({ locals: blocks = [] }) => blocks.flatMap((block) => Object.entries(block))),
  );
  const kinds = [
    ["resource", "resources"],
    ["data", "dataSources"],
  ] as const;
  return files.flatMap((file) =>
    kinds.flatMap(([block, collection]) =>
      Object.entries(file[block] ?? {}).flatMap(([type, named]) => {
        const attributes = schemas
          .map((schema) => schema[collection][type])
          .find((found) => found !== undefined);
        // Terraform's own validate says so of a type that does not exist.
        if (attributes === undefined) return [];
        return Object.entries(named).flatMap(([name, bodies]) =>
          bodies.flatMap((body) => inBody(`${type}.${name}`, body, attributes, locals)),
        );
      }),
    ),
  );
}

type Locals = ReadonlyMap<string, unknown>;

function inBody(
  path: string,
  body: Readonly<Record<string, unknown>>,
  attributes: Attributes,
  locals: Locals,
): string[] {
  return Object.entries(body).flatMap(([key, value]) => {
    const attribute = attributes[key];
    return attribute === undefined ? [] : inValue(`${path}.${key}`, value, attribute, locals);
  });
}

function inValue(path: string, value: unknown, { nested }: Attribute, locals: Locals): string[] {
  if (nested === undefined || value === null) return [];
  if (typeof value === "string") return inExpression(path, value, nested.attributes, locals);
  if (Array.isArray(value)) {
    return value.flatMap((item, at) => inObject(`${path}[${at}]`, item, nested.attributes, locals));
  }
  if (nested.nesting !== "map") return inObject(path, value, nested.attributes, locals);
  return Object.entries(value as object).flatMap(([key, item]) =>
    inObject(`${path}.${key}`, item, nested.attributes, locals),
  );
}

function inObject(path: string, value: unknown, attributes: Attributes, locals: Locals): string[] {
  if (typeof value === "string") return inExpression(path, value, attributes, locals);
  if (value === null || typeof value !== "object") return [];
  return Object.entries(value).flatMap(([key, item]) => {
    const attribute = attributes[key];
    if (attribute === undefined)
      return [`${path}: ${key} is unknown there; known: ${Object.keys(attributes).join(", ")}`];
    return inValue(`${path}.${key}`, item, attribute, locals);
  });
}

/** A key of an object that is written out, in the text of an expression. Strings are taken out before. */
const KEY = /[{,\n]\s*(\w+)\s*=(?![=>])/g;
const REFERENCE = /\blocal\.(\w+)/g;

function inExpression(path: string, text: string, attributes: Attributes, locals: Locals): string[] {
  const bare = text.replace(/"(?:[^"\\]|\\.)*"/g, '""').replace(/^\$\{/, "\n");
  const known = everyKey(attributes);
  const wrong = [...bare.matchAll(KEY)].map(([, key]) => key!).filter((key) => !known.has(key));
  const followed = [...bare.matchAll(REFERENCE)].flatMap(([, name]) => {
    const value = locals.get(name!);
    if (value === undefined) return [];
    const items = Array.isArray(value) ? value : [value];
    return items.flatMap((item) => inObject(`${path} (local.${name})`, item, attributes, new Map()));
  });
  return [...wrong.map((key) => `${path}: ${key} is unknown anywhere below it`), ...followed];
}

function everyKey(attributes: Attributes): Set<string> {
  const inner = Object.values(attributes).flatMap(({ nested }) => [...everyKey(nested?.attributes ?? {})]);
  return new Set([...Object.keys(attributes), ...inner]);
}
