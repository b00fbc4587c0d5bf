import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ProseSpeaker, readTurn, ScriptSpeaker } from "../../../sim/origin/model/language.ts";
import { type PlainMessage, renderChat } from "../../../sim/origin/model/template.ts";
import { decode, encode, IncrementalDecoder } from "../../../sim/origin/model/tokenizer.ts";
import { TURN_END } from "../../../sim/origin/model/vocabulary.ts";

const END_AFTER = 1_000;

/** Ids up to the end token, which is left out. */
function say(promptIds: readonly number[], variant = 0): number[] {
  const speaker = new ProseSpeaker(promptIds, variant);
  const ids: number[] = [];
  while (ids.length < END_AFTER) {
    const id = speaker.next(true);
    if (id === TURN_END) return ids;
    ids.push(id);
    speaker.feed(id);
  }
  return ids;
}

function user(content: string): PlainMessage[] {
  return [{ role: "user", content }];
}

/** The text after each token: what a client has when the stream breaks there. */
function boundaries(ids: readonly number[]): string[] {
  const decoder = new IncrementalDecoder();
  let text = "";
  return ids.map((id) => {
    text += decoder.push(id);
    return text;
  });
}

describe("simulated model", () => {
  test("says the same to the same prompt, and something else to another", () => {
    const first = say(renderChat(user("Tell me about rivers"), "answer"));
    expect(say(renderChat(user("Tell me about rivers"), "answer"))).toEqual(first);
    expect(say(renderChat(user("Tell me about lakes"), "answer"))).not.toEqual(first);
    expect(say(renderChat(user("Tell me about rivers"), "answer"), 1)).not.toEqual(first);
  });

  test("has a natural length between 30 and 400 tokens, or the one asked for", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme-ascii", maxLength: 40 }), (content) => {
        const { naturalTokens } = readTurn(renderChat(user(content), "answer"));
        expect(naturalTokens).toBeGreaterThanOrEqual(30);
        expect(naturalTokens).toBeLessThanOrEqual(400);
      }),
    );
    for (const tokens of [0, 1, 2, 7, 120, 399]) {
      expect(say(renderChat(user(`Go on. [len=${tokens}]`), "answer"))).toHaveLength(tokens);
    }
  });

  test("reads the length from the last user message only", () => {
    const messages = [
      ...user("[len=5] first"),
      { role: "assistant", content: "yes" },
      ...user("then [len=9]"),
    ];
    expect(say(renderChat(messages, "answer"))).toHaveLength(9);
  });

  test("an answer is encoded as it was generated", () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 20 }), fc.integer({ min: 1, max: 400 }), (content, tokens) => {
        const ids = say(renderChat(user(`${content} [len=${tokens}]`), "answer"));
        expect(encode(decode(ids))).toEqual(ids);
      }),
    );
  });

  test("goes on from its own text, cut after any token, exactly as it would have", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: "grapheme", maxLength: 30 }),
        fc.integer({ min: 1, max: 220 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (content, tokens, where) => {
          const conversation = user(`${content} [len=${tokens}]`);
          const whole = say(renderChat(conversation, "answer"));
          const texts = boundaries(whole);
          const cut = texts[Math.floor(where * (texts.length - 1))]!;
          const resumed = say(renderChat([...conversation, { role: "assistant", content: cut }], "continue"));
          expect(cut + decode(resumed)).toBe(decode(whole));
        },
      ),
      { numRuns: 300 },
    );
  });

  test("the same at every boundary of one long answer", () => {
    const conversation = user("A long story, please. [len=400]");
    const whole = say(renderChat(conversation, "answer"));
    const text = decode(whole);
    for (const cut of boundaries(whole)) {
      const resumed = say(renderChat([...conversation, { role: "assistant", content: cut }], "continue"));
      expect(cut + decode(resumed)).toBe(text);
    }
  });

  test("goes on from ids too", () => {
    const prompt = renderChat(user("By ids [len=200]"), "answer");
    const whole = say(prompt);
    for (let cut = 0; cut <= whole.length; cut++) {
      expect([...whole.slice(0, cut), ...say([...prompt, ...whole.slice(0, cut)])]).toEqual(whole);
    }
  });

  test("ends at once when asked to continue a complete answer, or a turn that is not its own", () => {
    const conversation = user("Short [len=12]");
    const answer = decode(say(renderChat(conversation, "answer")));
    expect(say(renderChat([...conversation, { role: "assistant", content: answer }], "continue"))).toEqual(
      [],
    );
    expect(say(renderChat(conversation, "continue"))).toEqual([]);
  });

  test("goes on where the end token is not allowed", () => {
    const speaker = new ProseSpeaker(renderChat(user("[len=3]"), "answer"));
    const ids = Array.from({ length: 50 }, () => {
      const id = speaker.next(false);
      speaker.feed(id);
      return id;
    });
    expect(ids).not.toContain(TURN_END);
  });

  test("a plain prompt ends somewhere, and where it is told to", () => {
    expect(say(encode("Once upon a time")).length).toBeLessThan(END_AFTER);
    expect(say(encode("Once upon a time [len=33]"))).toHaveLength(33);
  });

  test("a script is said once", () => {
    const speaker = new ScriptSpeaker('{"city": "Paris"}');
    const ids: number[] = [];
    for (let id = speaker.next(); id !== TURN_END; id = speaker.next()) {
      ids.push(id);
      speaker.feed();
    }
    expect(decode(ids)).toBe('{"city": "Paris"}');
  });
});
