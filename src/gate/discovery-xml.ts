/** An element of an answer of AWS's query APIs: children by name, text. Attributes carry nothing there. */
export interface Element {
  readonly name: string;
  readonly children: readonly Element[];
  readonly text: string;
}

const PIECE = /<(\/?)([A-Za-z_][\w.:-]*)[^>]*?(\/?)>|([^<]+)|<[^>]*>/g;
const DEPTH_MAX = 32;
const ENTITIES: Readonly<Record<string, string>> = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };

/**
 * Reads the XML that EC2 and Auto Scaling answer with: elements and text. No doctype, no CDATA and no comments with tags
 * in them are ever there; what is not well formed throws.
 */
export function readXml(text: string): Element {
  const root: Open = { name: "", children: [], text: "" };
  const open: Open[] = [root];
  for (const [, closing, name, empty, words] of text.matchAll(PIECE)) {
    const top = open.at(-1)!;
    if (words !== undefined) top.text += words;
    else if (name === undefined) continue;
    else if (closing) {
      if (top.name !== name || open.length === 1) throw new Error(`malformed XML at </${name}>`);
      top.text = unescaped(top.text.trim());
      open.pop();
    } else {
      const element: Open = { name, children: [], text: "" };
      top.children.push(element);
      if (!empty) open.push(element);
      if (open.length > DEPTH_MAX) throw new Error("XML nested too deep");
    }
  }
  const [document] = root.children;
  if (open.length !== 1 || document === undefined) throw new Error("malformed XML");
  return document;
}

interface Open {
  readonly name: string;
  readonly children: Open[];
  text: string;
}

/** The elements at a path below an element. */
export function at(element: Element, ...path: readonly string[]): Element[] {
  return path.reduce<Element[]>(
    (found, name) => found.flatMap(({ children }) => children.filter((child) => child.name === name)),
    [element],
  );
}

/** The text at a path; empty where there is none. */
export function textAt(element: Element, ...path: readonly string[]): string {
  return at(element, ...path)[0]?.text ?? "";
}

function unescaped(text: string): string {
  return text.replace(
    /&(?:(lt|gt|quot|apos|amp)|#(\d{1,7}));/g,
    (_, name: string | undefined, code: string) =>
      name === undefined ? String.fromCodePoint(Number(code)) : ENTITIES[name]!,
  );
}
