/** Shapes of JSON values: keys in order and types, not values. */

/** What must be equal in value, not only in type. */
const VALUES = new Set([
  "object",
  "type",
  "role",
  "finish_reason",
  "stop_reason",
  "status",
  "index",
  "owned_by",
]);

/** A text that is equal for two values of the same shape. */
export function shapeOf(value: unknown, key = ""): string {
  if (Array.isArray(value)) {
    const shapes = [...new Set(value.map((item) => shapeOf(item, key === "top_logprobs" ? "top" : "")))];
    return `[${shapes.sort().join("|")}]`;
  }
  if (value === null) return "null";
  // Keyed by the tokens themselves.
  if (key === "top_logprobs" || key === "top") return "logprobs";
  if (typeof value !== "object") return VALUES.has(key) ? JSON.stringify(value) : typeof value;
  const fields = Object.entries(value).map(([name, field]) => `${name}:${shapeOf(field, name)}`);
  return `{${fields.join(",")}}`;
}

/** The events of a stream: what stands before the data, and the data parsed where it is JSON. */
export function parseEvents(text: string): { name: string; data: unknown; raw: string }[] {
  return text
    .split("\n\n")
    .filter((block) => block !== "")
    .map((block) => {
      const name = /^event: (.*)$/m.exec(block)?.[1] ?? (block.startsWith(":") ? "comment" : "");
      const raw = /^data: (.*)$/m.exec(block)?.[1] ?? block;
      return { name, raw, data: raw.startsWith("{") ? (JSON.parse(raw) as unknown) : raw };
    });
}

/** A stream as the sequence of its events' shapes, where a run of one shape counts as one. */
export function streamShape(text: string): string[] {
  const shapes = parseEvents(text).map(({ name, data }) => `${name} ${shapeOf(data)}`);
  return shapes.filter((shape, i) => shape !== shapes[i - 1]);
}
