import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Replica, startReplica } from "../../../sim/origin/replica.ts";
import { StopHold, stopPlan } from "../../../src/engine/continuation/stops.ts";
import type { JsonObject } from "../../../src/engine/endpoint.ts";
import { endpointForPath } from "../../../src/engine/endpoints.ts";
import { carrier, type Said, said } from "../../support/carrying.ts";

/**
 * Streams that are sampled: the engine will not say the same again, so whatever the client has of a half event has to
 * stand. The simulated engine says the same at any temperature, but after half a token it says something else, as a
 * sampling one does: no half event, half character or half token may reach the client uncorrected all the same.
 */

let replica: Replica;
const { unbroken, carried } = carrier(() => replica.url, "sim-chat");
beforeAll(async () => {
  replica = await startReplica({ speed: 2_000 });
});
afterAll(() => replica.close());

const TEXT = '请写一首关于灯塔和海的诗 😀🚢👩‍🚀 `const x = [1, "a\\n"];` [len=30]';
const CASES: [path: string, body: JsonObject][] = [
  [
    "/v1/chat/completions",
    { messages: [{ role: "user", content: TEXT }], stream_options: { include_usage: true } },
  ],
  ["/v1/completions", { prompt: TEXT, max_tokens: 40 }],
  ["/v1/messages", { messages: [{ role: "user", content: TEXT }], max_tokens: 100 }],
  ["/v1/responses", { input: TEXT }],
];

describe.each(CASES)("%s, cut at every byte", (path, asked) => {
  it("stays whole, keeps what was shown, and ends once", async () => {
    const endpoint = endpointForPath(path)!;
    const body: JsonObject = { model: "mine", temperature: 0.8, stream: true, ...asked };
    const { bytes, told } = await unbroken(endpoint, body);
    const ends = new Set(told.map(({ at }) => at));
    const whole = said(new TextDecoder().decode(bytes));
    let [refused, halves] = [0, 0];
    const from = Math.floor(bytes.length / 3);
    for (let at = from; at < Math.min(from + 700, bytes.length); at += 3) {
      const sent = bytes.slice(0, at);
      const joined = await carried(endpoint, body, sent, false);
      if (joined === null) {
        refused += 1;
        continue;
      }
      // Throws on an event that is no JSON; a half one would be left over.
      const all: Said = said(joined);
      const had = shownBy(sent);
      expect(all.text.startsWith(had), `cut at ${at}`).toBe(true);
      expect([all.text.isWellFormed(), all.text.includes("\u{fffd}")]).toEqual([true, false]);
      expect([all.dones, all.roles, all.ids]).toEqual([1, whole.roles, whole.ids]);
      if (ends.has(at)) expect(all.text).toBe(whole.text);
      else halves += 1;
    }
    expect(halves).toBeGreaterThan(20);
    expect(refused).toBeLessThan(80);
  }, 120_000);
});

/** The text of the whole events, which is what any client has read by then. */
function shownBy(sent: Uint8Array): string {
  const text = new TextDecoder().decode(sent);
  return said(text.slice(0, text.lastIndexOf("\n\n") + 2)).text;
}

describe("a stop string that straddles the cut", () => {
  const hold = (before: string, more: JsonObject = {}) =>
    new StopHold(stopPlan({ stop: ["END OF", "###"], ...more })!, before);

  it("is found where a sampling engine completes what the client has half of", () => {
    expect(hold("the EN").straddles("D OF it", 9)).toEqual({ stop: "END OF", shown: "" });
    expect(hold("so ##").straddles("# more", 9)).toEqual({ stop: "###", shown: "" });
    const slow = hold("the EN");
    expect(slow.straddles("D", 8)).toBeNull();
    expect(slow.push("D", 8)).toBeNull();
    expect(slow.straddles(" OF", 9)).toEqual({ stop: "END OF", shown: "" });
  });

  it("is shown to whom it is to be shown", () => {
    const shows = hold("the EN", { include_stop_str_in_output: true });
    expect(shows.straddles("D OF it", 9)).toEqual({ stop: "END OF", shown: "D OF" });
    const slow = hold("the EN", { include_stop_str_in_output: true });
    slow.straddles("D", 8);
    slow.push("D", 8);
    expect(slow.straddles(" OF it", 9)).toEqual({ stop: "END OF", shown: "D OF" });
  });

  it("is none where it began and ended before, does not end, or comes too early", () => {
    expect(hold("### and").straddles(" on", 9)).toBeNull();
    expect(hold("the EN").straddles("TRY OF", 9)).toBeNull();
    expect(hold("the EN", { min_tokens: 10 }).straddles("D OF", 9)).toBeNull();
    expect(hold("the EN", { min_tokens: 10 }).straddles("D OF", 10)).not.toBeNull();
    const early = hold("the EN", { min_tokens: 10 });
    expect([early.straddles("D OF", 9), early.straddles(" it", 10)]).toEqual([null, null]);
  });

  it("ends the stream there, and the engine with it", async () => {
    const endpoint = endpointForPath("/v1/chat/completions")!;
    const messages = [{ role: "user", content: "Tell me of lighthouses. [len=60]" }];
    const free: JsonObject = { model: "mine", temperature: 0.8, stream: true, messages };
    const { text } = said(new TextDecoder().decode((await unbroken(endpoint, free)).bytes));
    // The first engine showed half of it, in half an event; the second says the other half.
    const event = (content: string) =>
      `data: ${JSON.stringify({ id: "a", created: 1, choices: [{ index: 0, delta: { content }, logprobs: null, finish_reason: null }] })}\n\n`;
    const cut = text.indexOf(" ", 40);
    const stop = text.slice(cut - 3, cut + 9);
    const sent = new TextEncoder().encode(event(text.slice(0, cut)));
    const joined = said((await carried(endpoint, { ...free, stop: [stop] }, sent, false))!);
    expect([joined.text, joined.ends, joined.dones]).toEqual([text.slice(0, cut), ["stop"], 1]);
  });
});
