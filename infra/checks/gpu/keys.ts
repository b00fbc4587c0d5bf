/**
 * Keys of object literals against the types of the variables that take them. Terraform drops a key that an object type
 * does not know, without a word: `headrom = 4` would leave the default in force.
 */

export type Shape =
  | { readonly kind: "object"; readonly keys: ReadonlyMap<string, Shape> }
  /** map(T), list(T), set(T): the shape of every element. */
  | { readonly kind: "each"; readonly of: Shape; readonly container: "map" | "list" }
  | { readonly kind: "other" };

const OTHER: Shape = { kind: "other" };

/** The shape that a type expression describes, as in `object({ a = optional(string), b = list(object({})) })`. */
export function shapeOf(type: string): Shape {
  const tokens =
    type.replace(/#.*$/gm, "").match(/"(?:[^"\\]|\\.)*"|[A-Za-z_][\w-]*|-?\d[\d.]*|[(){}[\]=,.:]/g) ?? [];
  return new TypeReader(tokens).shape();
}

class TypeReader {
  readonly tokens: readonly string[];
  at = 0;
  constructor(tokens: readonly string[]) {
    this.tokens = tokens;
  }

  shape(): Shape {
    const word = this.next();
    if (this.tokens[this.at] !== "(") return OTHER;
    this.next();
    const shape = word === "object" ? this.object() : this.shape();
    this.skipToClose();
    if (word === "map") return { kind: "each", of: shape, container: "map" };
    if (word === "list" || word === "set") return { kind: "each", of: shape, container: "list" };
    return word === "object" || word === "optional" ? shape : OTHER;
  }

  /** From `{` to its `}`. */
  object(): Shape {
    const keys = new Map<string, Shape>();
    this.next();
    while (this.tokens[this.at] !== "}" && this.at < this.tokens.length) {
      const key = this.next();
      if (key === ",") continue;
      this.next(); // =
      keys.set(key, this.shape());
    }
    this.next();
    return { kind: "object", keys };
  }

  /** Past the `)` that closes what was opened last; what stands before it (a default) has no say. */
  skipToClose(): void {
    let depth = 1;
    while (depth > 0 && this.at < this.tokens.length) {
      const token = this.next();
      if ("([{".includes(token)) depth += 1;
      if (")]}".includes(token)) depth -= 1;
    }
  }

  next(): string {
    return this.tokens[this.at++] ?? "";
  }
}

/** Keys of a literal that its type does not have, as paths. Expressions that are no literals are not looked into. */
export function strangeKeys(value: unknown, shape: Shape, path: string): string[] {
  if (shape.kind === "other" || typeof value !== "object" || value === null) return [];
  if (shape.kind === "each") {
    const elements =
      shape.container === "map" && !Array.isArray(value) ? Object.entries(value) : listed(value);
    return elements.flatMap(([key, element]) => strangeKeys(element, shape.of, `${path}.${key}`));
  }
  if (Array.isArray(value)) return [];
  return Object.entries(value).flatMap(([key, element]) => {
    const known = shape.keys.get(key);
    return known === undefined ? [`${path}.${key}`] : strangeKeys(element, known, `${path}.${key}`);
  });
}

function listed(value: object): [string, unknown][] {
  return Array.isArray(value)
    ? value.map((element, index): [string, unknown] => [String(index), element])
    : [];
}
