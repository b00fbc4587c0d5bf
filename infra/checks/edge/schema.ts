import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/**
 * A provider's schema as Terraform's plugin protocol 6 wants it, read from the provider's published bindings
 * (MPL-2.0; built when a check runs, never kept in the repository). Each binding names every attribute with its type
 * and with "computed, optional, required" in a comment above its getter.
 *
 * Not in the bindings, so not known here: enumerations and other validators, plan modifiers, sensitivity, deprecation.
 */

/** A type in Terraform's JSON notation: "string", ["list", "string"], … */
export type TypeText = string | readonly [kind: string, of: TypeText];
type Nesting = "single" | "list" | "set" | "map";

export interface Attribute {
  readonly required: boolean;
  readonly optional: boolean;
  readonly computed: boolean;
  /** Either a type, or attributes in a nesting. */
  readonly type?: TypeText;
  readonly nested?: { readonly nesting: Nesting; readonly attributes: Attributes };
}
export type Attributes = Readonly<Record<string, Attribute>>;

export interface ProviderSchema {
  /** As the bindings say. */
  readonly version: string;
  readonly provider: Attributes;
  readonly resources: Readonly<Record<string, Attributes>>;
  readonly dataSources: Readonly<Record<string, Attributes>>;
}

/** A class of the bindings: its lines between `class X extends` and `exports.X`. */
interface Class {
  readonly base: string;
  readonly text: string;
}

const CLASS = /^class (\w+) extends cdk(?:tf|tn)\.(\w+) \{\n(.*?)^\}$/gms;
const TYPE_NAME = /static tfResourceType = "(\w+)"/;
const ATTRIBUTE =
  /^ {4}\/\/ (\w+) - computed: (true|false), optional: (true|false), required: (true|false)\n(.*?)^ {4}\}$/gms;
const NESTED = /= new (\w+)\(this, "\w+"(?:, (true|false))?\)/;
const GETTER = /return (?:(cdk(?:tf|tn)\.Fn\.tolist)\()?this\.(\w+)\(/;

/** What each getter of the bindings says about the type. `interpolationForAttribute` stands for several. */
const TYPES: Readonly<Record<string, TypeText>> = {
  getStringAttribute: "string",
  getNumberAttribute: "number",
  getBooleanAttribute: "bool",
  getListAttribute: ["list", "string"],
  getNumberListAttribute: ["list", "number"],
  getStringMapAttribute: ["map", "string"],
  getNumberMapAttribute: ["map", "number"],
  getAnyMapAttribute: ["map", "string"],
};

/** Reads all bindings under `folder`. Throws when it finds none: a new form of the bindings must not pass as empty. */
export function schemaFromBindings(folder: string): ProviderSchema {
  const resources: Record<string, Attributes> = {};
  const dataSources: Record<string, Attributes> = {};
  let provider: Attributes = {};
  let version = "";
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (!entry.isDirectory()) continue;
    const text = readFileSync(join(folder, entry.name, "index.js"), "utf8");
    const classes = classesIn(text);
    version ||= /providerVersion: '([\d.]+)'/.exec(text)?.[1] ?? "";
    for (const { base, text: own } of classes.values()) {
      const name = TYPE_NAME.exec(own)?.[1];
      if (name === undefined) continue;
      const attributes = attributesOf(own, classes, []);
      if (base === "TerraformResource") resources[name] = attributes;
      else if (base === "TerraformDataSource") dataSources[name] = attributes;
      else if (base === "TerraformProvider") provider = withoutAlias(attributes);
    }
  }
  if (Object.keys(resources).length === 0) throw new Error(`no resources in the bindings under ${folder}`);
  return { version, provider, resources, dataSources };
}

function classesIn(text: string): Map<string, Class> {
  return new Map(
    [...text.matchAll(CLASS)].map(([, name, base, body]) => [name!, { base: base!, text: body! }]),
  );
}

/** `inside`: the classes around this one. One resource refers to itself; its inner self is left untyped. */
function attributesOf(
  text: string,
  classes: ReadonlyMap<string, Class>,
  inside: readonly string[],
): Attributes {
  const found = [...text.matchAll(ATTRIBUTE)].map(([, name, computed, optional, required, body]) => {
    const use = {
      computed: computed === "true",
      optional: optional === "true",
      required: required === "true",
    };
    // Bindings call nested attributes computed also where they are required, which Terraform would refuse.
    return [
      name!,
      { ...use, computed: use.computed && !use.required, ...typeOf(body!, classes, inside) },
    ] as const;
  });
  return Object.fromEntries(found);
}

function typeOf(
  body: string,
  classes: ReadonlyMap<string, Class>,
  inside: readonly string[],
): Pick<Attribute, "type" | "nested"> {
  const nested = NESTED.exec(body);
  if (nested === null) {
    const [, asSet, getter] = GETTER.exec(body) ?? [];
    const type = TYPES[getter ?? ""] ?? "dynamic";
    return { type: asSet !== undefined && Array.isArray(type) ? ["set", type[1] as TypeText] : type };
  }
  const [, className, isSet] = nested;
  const [item, nesting] = itemOf(className!, classes, isSet === "true");
  if (item === null || inside.includes(item)) return { type: "dynamic" };
  const attributes = attributesOf(classes.get(item)!.text, classes, [...inside, item]);
  return { nested: { nesting, attributes } };
}

/** The class of the items of a list, set or map class; the class itself where there is one item. */
function itemOf(name: string, classes: ReadonlyMap<string, Class>, isSet: boolean): [string | null, Nesting] {
  const { base = "", text = "" } = classes.get(name) ?? {};
  if (base === "ComplexObject") return [name, "single"];
  const item = /return new (\w+)\(/.exec(text)?.[1] ?? null;
  if (item === null || !classes.has(item)) return [null, "list"];
  return [item, base === "ComplexMap" ? "map" : isSet ? "set" : "list"];
}

/** A meta-argument, which Terraform adds by itself. */
function withoutAlias({ alias: _, ...attributes }: Attributes): Attributes {
  return attributes;
}
