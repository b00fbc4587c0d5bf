import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { at, readXml, textAt } from "../../../src/gate/discovery-xml.ts";

describe("XML", () => {
  test("names, texts, entities, empty elements", () => {
    const root = readXml('<?xml version="1.0"?>\n<a x="1>2"><b>1 &amp; 2 &#62;</b><c/><b> &lt;3 </b></a>');
    expect(at(root, "b").map(({ text }) => text)).toEqual(["1 & 2 >", "<3"]);
    expect(textAt(root, "c", "d")).toBe("");
  });

  test.each(["", "text", "<a>", "<a></b>", "</a>", "<a><b></a></b>"])("refuses %j", (text) => {
    expect(() => readXml(text)).toThrow("malformed XML");
  });

  test("any nesting of texts comes back", () => {
    const tree = fc.letrec<{ node: unknown }>((tie) => ({
      node: fc.oneof(
        { maxDepth: 4 },
        fc.string({ unit: fc.constantFrom("a", "<", "&", ">", '"') }),
        fc.array(tie("node"), { maxLength: 3 }),
      ),
    })).node;
    const escaped = (text: string) => text.replace(/[&<>"]/g, (char) => `&#${char.charCodeAt(0)};`);
    const written = (node: unknown): string =>
      Array.isArray(node) ? `<l>${node.map(written).join("")}</l>` : `<t>${escaped(String(node))}</t>`;
    const read = (element: ReturnType<typeof readXml>): unknown =>
      element.name === "t" ? element.text : element.children.map(read);
    fc.assert(
      fc.property(tree, (node) => {
        expect(read(readXml(written(node)))).toEqual(node);
      }),
    );
  });
});
