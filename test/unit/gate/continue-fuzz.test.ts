import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Replica, startReplica } from "../../../sim/origin/replica.ts";
import { whyNotResumable } from "../../../src/engine/continuation/eligible.ts";
import type { EndpointId, JsonObject } from "../../../src/engine/endpoint.ts";
import { endpointForPath } from "../../../src/engine/endpoints.ts";
import { carrier, type Said, said } from "../../support/carrying.ts";

/**
 * Any text, any limits and stop strings, cut at any byte, twice: what the client has in the end is what the engine alone
 * would have said, and the bill is that of one answer.
 */

let replica: Replica;
const { ask, unbroken, resumed } = carrier(() => replica.url, "sim-chat");
beforeAll(async () => {
  replica = await startReplica({ speed: 5_000 });
});
afterAll(() => replica.close());

const PATHS: readonly [path: string, id: EndpointId][] = [
  ["/v1/chat/completions", "chat"],
  ["/v1/completions", "completions"],
  ["/v1/messages", "messages"],
  ["/v1/responses", "responses"],
];

/** Parts of one prompt: plain, long words, Chinese, joined emoji, code. */
const TOPICS = [
  "Tell me of lighthouses.",
  "请写一首关于灯塔、海与渡船的长诗",
  "👩‍🚀👨‍👩‍👧‍👦🏳️‍🌈 😀🚢",
  'Write `const x = [1, "a\\n"]; /* 注 */`',
  "Ünïcödé ﷽ ḁ̈ ก็",
];

interface Asked {
  readonly topics: readonly number[];
  readonly tokens: number;
  readonly limit: number | null;
  readonly least: number;
  /** Out of the text that there would be: where each begins, as a part of it, and how long it is. */
  readonly stops: readonly (readonly [from: number, chars: number])[];
  readonly shows: boolean;
  readonly usage: "none" | "last" | "all";
  /** Where it is cut, as parts of what was sent; whether each gate had last words. */
  readonly cuts: readonly (readonly [at: number, words: boolean, atEvent: boolean])[];
}

/** From 0 to 1, evenly: what is drawn by itself prefers the ends. */
const part = fc.nat(1_008).map((drawn) => ((drawn * 617) % 1_009) / 1_009);
const ASKED: fc.Arbitrary<Asked> = fc.record({
  topics: fc.array(fc.nat(TOPICS.length - 1), { minLength: 1, maxLength: 3 }),
  tokens: fc.integer({ min: 1, max: 40 }),
  limit: fc.option(fc.integer({ min: 1, max: 45 }), { freq: 2 }),
  least: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 45 })),
  stops: fc.array(fc.tuple(part, fc.integer({ min: 1, max: 12 })), { maxLength: 3 }),
  shows: fc.boolean(),
  usage: fc.constantFrom("none", "last", "all"),
  cuts: fc.array(fc.tuple(part, fc.boolean(), fc.boolean()), { minLength: 1, maxLength: 2 }),
});

function bodyOf(id: EndpointId, asked: Asked, stop: readonly string[], temperature: number): JsonObject {
  const text = `${asked.topics.map((at) => TOPICS[at]).join(" ")} [len=${asked.tokens}]`;
  const messages = [{ role: "user", content: text }];
  const shared: JsonObject = { model: "mine", temperature, stream: true };
  const limit = asked.limit;
  if (id === "messages") {
    return { ...shared, messages, max_tokens: limit ?? 90, ...(stop.length ? { stop_sequences: stop } : {}) };
  }
  const stops = stop.length === 0 ? {} : { stop };
  if (id === "responses") {
    return { ...shared, input: text, ...stops, ...(limit === null ? {} : { max_output_tokens: limit }) };
  }
  const least = Math.min(asked.least, limit ?? 90);
  const usage =
    asked.usage === "none"
      ? {}
      : { stream_options: { include_usage: true, continuous_usage_stats: asked.usage === "all" } };
  return {
    ...shared,
    ...(id === "chat" ? { messages } : { prompt: text }),
    max_tokens: limit ?? 90,
    ...(least === 0 ? {} : { min_tokens: least }),
    ...(stop.length === 0 ? {} : { stop, include_stop_str_in_output: asked.shows }),
    ...usage,
  };
}

function stopsOf(text: string, asked: Asked): string[] {
  const chars = [...text];
  return asked.stops
    .map(([from, length]) => {
      const at = Math.floor(from * chars.length);
      return chars.slice(at, at + length).join("");
    })
    .filter((stop) => stop !== "");
}

const RUNS = Number(process.env.FUZZ_RUNS ?? 60);

describe.each(PATHS)("%s", (path, id) => {
  const endpoint = endpointForPath(path)!;

  it("is whole and paid once at temperature 0, wherever it is cut", async () => {
    let [carriedOn, refused] = [0, 0];
    const check = async (asked: Asked) => {
      const free = bodyOf(id, { ...asked, limit: 90, least: 0, stops: [] }, [], 0);
      const text = said(await alone(path, free)).text;
      const body = bodyOf(id, asked, stopsOf(text, asked), 0);
      if (whyNotResumable(id, body) !== null) return;
      const expected = said(await alone(path, body));
      const { bytes, told } = await unbroken(endpoint, body);
      const whole = said(new TextDecoder().decode(bytes));
      expect([whole.text, whole.ends]).toEqual([expected.text, expected.ends]);
      // An engine that says nothing at all names no item; one that is carried on does.
      if (id === "responses" && body.stop === undefined && whole.text === "") return;
      const paid = await billOf(path, body);
      // A limit that ends inside a character: in these formats a cut before its reason was told takes it for an end.
      const isLimit = whole.ends[0] === "max_tokens" || whole.ends[0] === "incomplete";
      if (isLimit && (await tokensOf(whole.text)) !== paid[1]) return;
      let stream = bytes;
      for (const [at, words, atEvent] of asked.cuts) {
        let sent = stream.slice(0, Math.floor(at * stream.length));
        if (atEvent) {
          // The gate of the first part only: what the second would have said is not known here.
          const event = told.filter((one) => one.at <= sent.length).at(-1);
          const last = stream === bytes && words ? (event?.words ?? "") : "";
          sent = stream.slice(0, stream === bytes ? (event?.at ?? 0) : endOfEvent(stream, sent.length));
          sent = new TextEncoder().encode(new TextDecoder().decode(sent) + last);
        }
        const all = await resumed(endpoint, body, sent);
        if (all === null) {
          refused += 1;
          return;
        }
        carriedOn += 1;
        expect(said(all.stream)).toEqual(whole);
        if (all.charged[0] >= 0) expect(all.charged).toEqual(paid);
        stream = new TextEncoder().encode(all.stream);
      }
    };
    await fc.assert(fc.asyncProperty(ASKED, check), { numRuns: RUNS });
    expect(carriedOn).toBeGreaterThan(refused);
  }, 240_000);

  it("keeps what was shown, ends once and never says a stop string where it is sampled", async () => {
    const check = async (asked: Asked) => {
      const free = bodyOf(id, { ...asked, limit: 90, least: 0, stops: [] }, [], 0.8);
      const stops = stopsOf(said(await alone(path, free)).text, asked);
      const body = bodyOf(id, { ...asked, shows: false, least: 0 }, stops, 0.8);
      let { bytes: stream } = await unbroken(endpoint, body);
      for (const [at] of asked.cuts) {
        const sent = stream.slice(0, Math.floor(at * stream.length));
        const all = await resumed(endpoint, body, sent, false);
        if (all === null) return;
        // Throws on half an event.
        const { text, dones, ends } = said(all.stream);
        const whole = said(new TextDecoder().decode(sent.slice(0, endOfEvent(sent, sent.length))));
        expect(text.startsWith(whole.text)).toBe(true);
        expect([text.isWellFormed(), text.includes("\u{fffd}"), dones]).toEqual([true, false, 1]);
        expect(ends.length).toBe(id === "responses" ? 2 : 1);
        if (id === "responses") expect(ends[1]).toBe(text);
        // Of two that one token completes the engine obeys the first in the list, and may show the other.
        if (stops.length === 1) expect(text).not.toContain(stops[0]);
        if (asked.limit !== null) expect(all.charged[1]).toBeLessThanOrEqual(asked.limit);
        stream = new TextEncoder().encode(all.stream);
      }
    };
    await fc.assert(fc.asyncProperty(ASKED, check), { numRuns: RUNS });
  }, 240_000);
});

/** The end of the last whole event before `at`. */
function endOfEvent(bytes: Uint8Array, at: number): number {
  for (let end = at; end >= 2; end--) if (bytes[end - 1] === 10 && bytes[end - 2] === 10) return end;
  return 0;
}

async function alone(path: string, body: JsonObject): Promise<string> {
  return new TextDecoder().decode(await ask(path, { ...body, model: "sim-chat" }));
}

/** What the engine alone counts. */
async function billOf(path: string, body: JsonObject): Promise<readonly number[]> {
  const usage = path.startsWith("/v1/chat") || path === "/v1/completions" ? { include_usage: true } : null;
  const asked = usage === null ? body : { ...body, stream_options: usage };
  const counted: Said = said(await alone(path, asked));
  return counted.usage as readonly number[];
}

async function tokensOf(text: string): Promise<number> {
  const asked = { model: "sim-chat", prompt: text, add_special_tokens: false };
  return JSON.parse(await alone("/tokenize", asked)).count;
}
