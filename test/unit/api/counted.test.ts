import { describe, expect, it } from "vitest";
import { countedPrompts, servedPrompts, type Ticketed } from "../../../src/api/counted.ts";
import { COUNTED_PROMPTS_MAX } from "../../../src/bounds.ts";
import { macKey } from "../../../src/contract/encoding.ts";
import type { TextClass } from "../../../src/contract/prompt-basis.ts";
import type { UsageReport } from "../../../src/contract/report.ts";
import { openTicket, signTicket, type UsageTicket } from "../../../src/contract/usage-ticket.ts";

const TICKET: UsageTicket = {
  tenantRef: "00000000abc",
  homeHint: "enam",
  generation: 0,
  at: "enam",
  requestId: "req_1",
  attempt: 0,
  keyId: "key0000001",
  pool: "p",
  model: "m",
  issuedAtMs: 0,
  basis: { textClass: "prose", textTokens: 100, fixedTokens: 7, templated: true },
  block: null,
};

function entry(ticket: Partial<UsageTicket> = {}, report: Partial<UsageReport> = {}): Ticketed {
  const usage = { promptTokens: 90, cachedTokens: 0, outputTokens: 1 };
  return {
    ticket: { ...TICKET, ...ticket },
    entry: { ticket: "t", usage, final: true, ...report },
    index: 0,
  };
}

describe("what a batch teaches", () => {
  it("is what an engine counted at a request's first attempt", () => {
    const { basis, requestId } = TICKET;
    expect(countedPrompts([entry()], "m")).toEqual([{ requestId, basis, promptTokens: 90 }]);
    const useless = [
      entry({ model: "other" }),
      entry({ attempt: 1 }),
      entry({}, { final: false }),
      entry({}, { estimated: true }),
      entry({}, { usage: { promptTokens: 0, cachedTokens: 0, outputTokens: 0 } }),
      entry({ basis: null }),
    ];
    expect(countedPrompts(useless, "m")).toEqual([]);
  });

  it("gives each tenant one say per class of text, and has a bound", () => {
    const of = (tenantRef: string, textClass: TextClass) =>
      entry({ tenantRef, basis: { ...TICKET.basis!, textClass } });
    const loud = Array.from({ length: 50 }, () => of("loud", "prose"));
    expect(countedPrompts([...loud, of("loud", "code"), of("quiet", "prose")], "m")).toHaveLength(3);
    const many = Array.from({ length: 2 * COUNTED_PROMPTS_MAX }, (_, index) => of(`t${index}`, "cjk"));
    expect(countedPrompts(many, "m")).toHaveLength(COUNTED_PROMPTS_MAX);
  });
});

describe("a ticket", () => {
  it("brings the estimate's basis back, and none where a version before made it", async () => {
    const key = await macKey("a ticket secret for this test");
    expect(await openTicket(await signTicket(TICKET, key), key, 0)).toEqual(TICKET);
    const old = { ...TICKET, basis: null };
    expect(await openTicket(await signTicket(old, key), key, 0)).toEqual(old);
  });
});

describe("how prompts fared", () => {
  it("is told of every attempt that ended, once, with what its engine found in its cache", () => {
    const usage = { promptTokens: 90, cachedTokens: 64, outputTokens: 5 };
    const told = [
      entry({}, { usage, firstTokenMs: 120 }),
      entry({ attempt: 1 }, { usage }),
      entry({ attempt: 1 }, { usage }),
      entry({ requestId: "req_2", model: "other" }, { usage }),
      entry({ requestId: "req_3" }, { usage, final: false }),
      entry({ requestId: "req_4" }, { usage, estimated: true }),
      entry({ requestId: "req_5" }, { usage: { ...usage, promptTokens: 0 } }),
    ];
    expect(servedPrompts(told, "m")).toEqual([
      { id: "req_1/0", promptTokens: 90, cachedTokens: 64, firstTokenMs: 120 },
      { id: "req_1/1", promptTokens: 90, cachedTokens: 64, firstTokenMs: null },
    ]);
  });
});
