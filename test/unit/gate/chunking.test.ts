import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { endpointForPath } from "../../../src/engine/endpoints.ts";
import { engineEnding } from "../../../src/gate/endings.ts";
import { aggregateAnswer } from "../../../src/gate/relay/aggregate.ts";
import type { Answer } from "../../../src/gate/relay/answer.ts";
import { streamAnswer } from "../../../src/gate/relay/stream.ts";
import { wholeAnswer } from "../../../src/gate/relay/whole.ts";
import {
  chatFrame,
  chatText,
  DONE,
  dataFrame,
  usageFrame,
  wholeAnswer as wholeJson,
} from "../../support/gate-engine.ts";
import { orderOf } from "../../support/gate-rig.ts";

const chat = endpointForPath("/v1/chat/completions")!;
const order = orderOf();
const engineError = (status: number, message: string) =>
  engineEnding({ status, message, param: null }, "served");
const messages = [{ role: "user", content: "hi" }];

const ANSWERS: Record<string, () => Answer> = {
  stream: () => streamAnswer(chat.reader({ model: "m", messages, stream: true }, order), engineError),
  aggregate: () => aggregateAnswer(chat.aggregator({ model: "m", messages }, order), engineError),
  whole: () => wholeAnswer((json) => chat.wholeUsage(json), { served: "served", asked: "m" }),
};

/** Engines' bodies, proper and broken: also one that ends inside a character of three bytes. */
const BODIES = {
  complete: Buffer.from(chatText(4)),
  unicode: Buffer.from(chatFrame(1, "日本 😀") + chatFrame(2, "é\r\n", "stop") + usageFrame(2) + DONE),
  windows: Buffer.from(chatText(3).replaceAll("\n", "\r\n")),
  comments: Buffer.from(`: hello\n\n${chatText(2)}`),
  crash: Buffer.from(chatFrame(1, "a") + dataFrame({ error: { message: "dead", code: 500 } }) + DONE),
  garbage: Buffer.from(`${chatFrame(1, "a")}data: {\n\n${chatText(2)}`),
  cut: Buffer.from(chatFrame(1, "日本")).subarray(0, -60),
  json: Buffer.from(JSON.stringify(wholeJson(3))),
  noJson: Buffer.from('{"id":'),
};

function play(answer: Answer, chunks: readonly Uint8Array[]) {
  let text = "";
  for (const chunk of chunks) {
    const taken = answer.take(chunk);
    text += taken.text;
    if (taken.broken !== null) return { text, ending: taken.broken, usage: answer.usage() };
  }
  const ending = answer.eof();
  if (ending.failure === null) text += answer.closing(ending) ?? "";
  return { text, ending, usage: answer.usage(), promptKnown: answer.promptKnown };
}

function cutAt(bytes: Uint8Array, points: readonly number[]): Uint8Array[] {
  const ends = [...new Set(points.map((point) => point % (bytes.length + 1)))].sort((a, b) => a - b);
  return [...ends, bytes.length].map((end, index) => bytes.subarray(index === 0 ? 0 : ends[index - 1], end));
}

describe("any chunking of the engine's bytes gives the same bytes and the same usage", () => {
  for (const [mode, make] of Object.entries(ANSWERS)) {
    for (const [name, bytes] of Object.entries(BODIES)) {
      test(`mode ${mode}, ${name}`, () => {
        const whole = play(make(), [bytes]);
        fc.assert(
          fc.property(fc.array(fc.nat(), { maxLength: 30 }), (points) => {
            expect(play(make(), cutAt(bytes, points))).toEqual(whole);
          }),
          { numRuns: 60 },
        );
        expect(
          play(
            make(),
            [...bytes].map((byte) => Uint8Array.of(byte)),
          ),
        ).toEqual(whole);
      });
    }
  }

  test("and what is compared is not empty", () => {
    expect(play(ANSWERS.stream!(), [BODIES.complete])).toMatchObject({
      ending: { outcome: "complete" },
      usage: { outputTokens: 4 },
    });
    expect(play(ANSWERS.aggregate!(), [BODIES.unicode]).text).toContain("日本 😀é");
    expect(play(ANSWERS.whole!(), [BODIES.json])).toMatchObject({ usage: { outputTokens: 3 } });
    expect(play(ANSWERS.stream!(), [BODIES.crash]).ending.outcome).toBe("failed");
    expect(play(ANSWERS.stream!(), [BODIES.cut]).ending.outcome).toBe("failed");
  });
});
