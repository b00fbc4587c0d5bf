/** Structured output: the one deterministic text that the simulated model says under a constraint. */
import { hashText, mix, spread } from "../engine/hash.ts";
import { badRequest } from "./errors.ts";
import { type Body, optional } from "./validate.ts";

type Schema = Record<string, unknown>;

const TYPES = ["object", "array", "string", "number", "integer", "boolean", "null"];
const WORDS = ["Paris", "harbor", "quiet", "north", "lantern", "seven", "river", "amber"];
const MAX_DEPTH = 12;

/** The text that a constraint of the request leads to; undefined where there is none. Throws on a bad schema. */
export function constrainedText(body: Body): string | undefined {
  const format = optional.record(body, "response_format");
  const outputs = optional.record(body, "structured_outputs");
  const seed = hashText(JSON.stringify(body.messages ?? body.input ?? body.prompt ?? ""));
  if (format?.type === "json_object") return toText({ answer: pick(WORDS, seed), score: spread(seed) % 100 });
  if (format?.type === "json_schema") {
    const named = format.json_schema as Body | undefined;
    if (named === undefined) {
      const message = "When response_format type is 'json_schema', the 'json_schema' field must be provided.";
      throw badRequest(message, "response_format");
    }
    return toText(sampleSchema((named.schema ?? {}) as Schema, seed));
  }
  if (outputs === undefined) return undefined;
  const { choice, json } = outputs as { choice?: unknown[]; json?: unknown };
  if (Array.isArray(choice) && choice.length > 0) return String(pick(choice, seed));
  if (json !== undefined && json !== null) {
    return toText(sampleSchema((typeof json === "string" ? JSON.parse(json) : json) as Schema, seed));
  }
  return undefined;
}

/** A value that fits a JSON schema; `seed` chooses among the possible ones. */
export function sampleSchema(schema: Schema, seed: number): unknown {
  return sample(schema, schema, seed, 0);
}

/** JSON with blanks, as models write it. */
export function toText(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(toText).join(", ")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const fields = Object.entries(value).map(([key, field]) => `${JSON.stringify(key)}: ${toText(field)}`);
  return `{${fields.join(", ")}}`;
}

function sample(schema: Schema, root: Schema, seed: number, depth: number): unknown {
  if (depth > MAX_DEPTH) return null;
  const next = mix(seed, depth + 1);
  if (typeof schema.$ref === "string") return sample(resolve(schema.$ref, root), root, next, depth + 1);
  for (const key of ["anyOf", "oneOf", "allOf"]) {
    const options = schema[key];
    if (Array.isArray(options) && options.length > 0)
      return sample(options[0] as Schema, root, next, depth + 1);
  }
  if ("const" in schema) return schema.const;
  if (Array.isArray(schema.enum)) return pick(schema.enum, seed);
  const type = Array.isArray(schema.type)
    ? schema.type[0]
    : (schema.type ?? (schema.properties ? "object" : "string"));
  if (!TYPES.includes(type as string)) throw badRequest(`Grammar error: Invalid type: ${type}`);
  switch (type) {
    case "object":
      return sampleObject(schema, root, next, depth);
    case "array": {
      const count = Math.max(Number(schema.minItems ?? 1), 1);
      const item = (schema.items ?? { type: "string" }) as Schema;
      return Array.from({ length: count }, (_, i) => sample(item, root, mix(next, i), depth + 1));
    }
    case "string":
      return pick(WORDS, seed).slice(0, Number(schema.maxLength ?? 100));
    case "boolean":
      return spread(seed) % 2 === 0;
    case "null":
      return null;
    default:
      return Number(schema.minimum ?? 0) + (spread(seed) % 10);
  }
}

function sampleObject(schema: Schema, root: Schema, seed: number, depth: number): object {
  const properties = (schema.properties ?? {}) as Record<string, Schema>;
  const required = Array.isArray(schema.required) ? (schema.required as string[]) : Object.keys(properties);
  const names = Object.keys(properties).filter((name) => required.includes(name));
  return Object.fromEntries(
    names.map((name, i) => [name, sample(properties[name]!, root, mix(seed, i), depth + 1)]),
  );
}

function resolve(reference: string, root: Schema): Schema {
  let target: unknown = root;
  for (const key of reference.replace(/^#\//, "").split("/")) target = (target as Schema | undefined)?.[key];
  return (target ?? {}) as Schema;
}

function pick<T>(from: readonly T[], seed: number): T {
  return from[spread(seed) % from.length]!;
}
