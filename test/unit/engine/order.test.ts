import { expect, it } from "vitest";
import { REQUEST_DEADLINE_MS } from "../../../src/bounds.ts";
import { createdSeconds } from "../../../src/engine/order.ts";
import { ORDER } from "./support.ts";

it("an answer that no engine has dated is as old as its request, however soon that has to start", () => {
  const arrivedMs = 1_795_409_068_900;
  const deadlineMs = arrivedMs + REQUEST_DEADLINE_MS;
  for (const waitMs of [500, 60_000])
    expect(createdSeconds({ ...ORDER, deadlineMs, startByMs: arrivedMs + waitMs })).toBe(1_795_409_068);
});
