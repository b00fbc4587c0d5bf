import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EVENT_MAX_BYTES } from "../../../src/bounds.ts";
import { type SseEvent, SseParser } from "../../../src/engine/sse.ts";
import { fixture } from "./support.ts";

const utf8 = new TextEncoder();

function parse(pieces: readonly Uint8Array[]): { events: SseEvent[]; half: boolean } {
  const parser = new SseParser();
  const events = pieces.flatMap((piece) => parser.push(piece));
  return { events, half: parser.end() };
}

function parseText(text: string): { events: SseEvent[]; half: boolean } {
  return parse([utf8.encode(text)]);
}

/** The bytes cut at the given places. */
function split(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  return [0, ...places].map((start, index) => bytes.subarray(start, places[index] ?? bytes.length));
}

const cuts = fc.array(fc.nat(1_000_000), { maxLength: 60 });

const STREAMS = [
  "chat-stream-emoji.sse",
  "chat-stream-n2.sse",
  "chat-stream-keep-alive.sse",
  "crash-chat-stream.sse",
  "messages-stream-tool.sse",
  "responses-stream.sse",
];

describe("recorded streams", () => {
  it.each(STREAMS)("%s gives the same events however it is cut", (file) => {
    const bytes = fixture(file);
    const whole = parse([bytes]);
    expect(whole.half).toBe(false);
    expect(whole.events.length).toBeGreaterThan(3);
    expect(whole.events.map((event) => event.raw).join("")).toBe(new TextDecoder().decode(bytes));
    fc.assert(
      fc.property(cuts, (places) => {
        expect(parse(split(bytes, places))).toEqual(whole);
      }),
      { numRuns: 60 },
    );
  });

  it("survives one byte at a time", () => {
    const bytes = fixture("chat-stream-emoji.sse");
    expect(parse(Array.from(bytes, (byte) => Uint8Array.of(byte)))).toEqual(parse([bytes]));
  });
});

describe("any stream", () => {
  const line = fc.oneof(
    fc.string({ unit: "grapheme", maxLength: 8 }).map((text) => `data: ${text.replace(/[\r\n]/g, "")}`),
    fc.constantFrom(
      "",
      "",
      ":",
      ": ping",
      "event: x",
      "data",
      "data:",
      "id: 7",
      "retry: 1",
      "event:y",
      "data:é😀",
    ),
  );
  const stream = fc
    .array(fc.tuple(line, fc.constantFrom("\n", "\n", "\r\n", "\r")), { maxLength: 30 })
    .map((lines) => lines.map(([text, end]) => text + end).join(""));

  it("gives the same events however it is cut", () => {
    fc.assert(
      fc.property(stream, cuts, (text, places) => {
        const bytes = utf8.encode(text);
        expect(parse(split(bytes, places))).toEqual(parse([bytes]));
      }),
      { numRuns: 500 },
    );
  });

  it("loses no text but the kind of its line ends", () => {
    fc.assert(
      fc.property(stream, (text) => {
        const normal = text.replace(/\r\n?/g, "\n");
        const joined = parseText(text)
          .events.map((event) => event.raw)
          .join("");
        expect(normal.startsWith(joined)).toBe(true);
        expect(normal.slice(joined.length)).not.toContain("\n\n");
      }),
      { numRuns: 300 },
    );
  });
});

describe("fields", () => {
  it("reads an unnamed, a named and a many-lined event", () => {
    const { events } = parseText('data: {"a":1}\n\nevent: ping\ndata: {}\n\ndata: a\ndata:b\nid: 3\n\n');
    expect(events).toEqual([
      { data: '{"a":1}', event: null, raw: 'data: {"a":1}\n\n' },
      { data: "{}", event: "ping", raw: "event: ping\ndata: {}\n\n" },
      { data: "a\nb", event: null, raw: "data: a\ndata:b\nid: 3\n\n" },
    ]);
  });

  it("calls an event without data a comment", () => {
    const { events } = parseText(": keep-alive\n\nevent: x\n\n\n\ndata\n\n");
    expect(events.map((event) => [event.comment ?? false, event.data])).toEqual([
      [true, ""],
      [true, ""],
      [true, ""],
      [false, ""],
    ]);
  });

  it("takes CRLF and CR for line ends, also cut in the middle", () => {
    const normal = [
      { data: "a", event: null, raw: "data: a\n\n" },
      { data: "b", event: null, raw: "data: b\n\n" },
    ];
    expect(parseText("data: a\r\n\r\ndata: b\r\n\r\n").events).toEqual(normal);
    expect(parseText("data: a\r\rdata: b\r\r").events).toEqual(normal);
    const pieces = ["data: a\r", "\n\r", "\ndata: b\r\n", "\r", "\n"].map((text) => utf8.encode(text));
    expect(parse(pieces)).toEqual({ events: normal, half: false });
  });
});

describe("the end", () => {
  it("tells of half an event, not of blank lines", () => {
    expect(parseText("data: a\n\ndata: b").half).toBe(true);
    expect(parseText("data: a\n\ndata: b\n").half).toBe(true);
    expect(parseText("data: a\n\n\n").half).toBe(false);
    expect(parseText("").half).toBe(false);
    expect(parse([utf8.encode("data: a\n\n"), Uint8Array.of(0xf0, 0x9f)]).half).toBe(true);
  });
});

describe("the bound", () => {
  it("calls an event that never ends garbage, and reads no further", () => {
    const parser = new SseParser();
    expect(parser.push(utf8.encode("data: ok\n\n"))).toHaveLength(1);
    const chunk = utf8.encode("x".repeat(64 * 1024));
    const events: SseEvent[] = [];
    let sent = 0;
    while (events.length === 0 && sent < 2 * EVENT_MAX_BYTES) {
      events.push(...parser.push(chunk));
      sent += chunk.length;
    }
    expect(events).toEqual([{ data: "", event: null, raw: "", garbage: true }]);
    expect(sent).toBeLessThanOrEqual(EVENT_MAX_BYTES + 2 * chunk.length);
    expect(parser.push(utf8.encode("\n\ndata: late\n\n"))).toEqual([]);
    expect(parser.end()).toBe(true);
  });

  it("does so too when the event comes in one piece, after those before it", () => {
    const { events } = parseText(`data: a\n\ndata: ${"x".repeat(EVENT_MAX_BYTES)}\n\n`);
    expect(events.map((event) => event.garbage ?? false)).toEqual([false, true]);
  });

  it("takes an event of just that size", () => {
    const data = "x".repeat(EVENT_MAX_BYTES - "data: ".length - 2);
    expect(parseText(`data: ${data}\n\n`).events[0]?.data).toBe(data);
  });
});
