import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Replica, startReplica } from "../../../sim/origin/replica.ts";
import type { EndpointId, JsonObject } from "../../../src/engine/endpoint.ts";
import { endpointForPath } from "../../../src/engine/endpoints.ts";
import { carrier, said } from "../../support/carrying.ts";

/** Streams with stop strings, cut before, inside and after them: they end where the engine alone would have ended. */

let replica: Replica;
const { ask, unbroken, carried } = carrier(() => replica.url, "sim-chat");
beforeAll(async () => {
  replica = await startReplica({ speed: 2_000 });
});
afterAll(() => replica.close());

const TEXTS = [
  "Tell me of lighthouses. [len=60]",
  "请写一首关于灯塔和海的诗 😀🚢 [len=40]",
  "Write `for (const x of xs) {}` [len=50]",
];

const PATHS: [path: string, id: EndpointId][] = [
  ["/v1/chat/completions", "chat"],
  ["/v1/completions", "completions"],
  ["/v1/messages", "messages"],
];

function bodyOf(id: EndpointId, text: string, stop: string[], more: JsonObject): JsonObject {
  const shared = { model: "mine", temperature: 0, stream: true, max_tokens: 80, ...more };
  if (id === "completions") return { ...shared, prompt: text, stop };
  const messages = [{ role: "user", content: text }];
  return id === "messages" ? { ...shared, messages, stop_sequences: stop } : { ...shared, messages, stop };
}

/** What the engine alone says to this body, stop strings and all. */
async function alone(path: string, body: JsonObject): Promise<string> {
  return new TextDecoder().decode(await ask(path, { ...body, model: "sim-chat" }));
}

/** Stop strings out of the text that there would be without any: short and long, over several tokens, and near misses. */
function stopsIn(text: string): string[][] {
  const chars = [...text];
  const at = (from: number, length: number) => chars.slice(from, from + length).join("");
  const middle = Math.floor(chars.length / 2);
  return [
    [at(middle, 2)],
    [at(middle, 9)],
    [at(middle, 14), "never said"],
    // Begins like the text again and again, and is never said.
    [`${at(middle, 5)}\u{1}`, `${at(3, 4)}\u{1}`],
    // One that is shown in the text before the other ends.
    [at(middle + 6, 3), at(middle, 12)],
  ];
}

describe.each(PATHS)("%s", (path, id) => {
  const endpoint = endpointForPath(path)!;

  it.each(TEXTS)(
    "%s: ends where it would have ended, wherever it is cut",
    async (text) => {
      const free = said(await alone(path, bodyOf(id, text, [], {}))).text;
      for (const stop of stopsIn(free)) {
        for (const more of id === "messages" ? [{}] : [{}, { include_stop_str_in_output: true }]) {
          const body = bodyOf(id, text, stop, more);
          const expected = said(await alone(path, body));
          const { bytes, told } = await unbroken(endpoint, body);
          const whole = said(new TextDecoder().decode(bytes));
          expect([whole.text, whole.ends]).toEqual([expected.text, expected.ends]);
          for (const [number, { at, words }] of told.entries()) {
            if (at === 0) continue;
            // The gate had last words, or was gone: by turns, for the sake of time.
            const sent = new TextDecoder().decode(bytes.subarray(0, at)) + (number % 2 === 0 ? words : "");
            const joined = await carried(endpoint, body, new TextEncoder().encode(sent));
            expect(joined === null ? null : said(joined), `${stop} cut at ${at}`).toEqual(whole);
          }
        }
      }
    },
    120_000,
  );

  it("is carried on from inside an event too", async () => {
    const text = TEXTS[0]!;
    const free = said(await alone(path, bodyOf(id, text, [], {}))).text;
    const body = bodyOf(id, text, stopsIn(free)[1]!, {});
    const { bytes } = await unbroken(endpoint, body);
    const whole = said(new TextDecoder().decode(bytes));
    let joined = 0;
    for (let at = Math.floor(bytes.length / 4); at < bytes.length; at += 5) {
      const all = await carried(endpoint, body, bytes.slice(0, at));
      if (all === null) continue;
      joined += 1;
      expect(said(all), `cut at ${at}`).toEqual(whole);
    }
    expect(joined).toBeGreaterThan(10);
  }, 120_000);
});
