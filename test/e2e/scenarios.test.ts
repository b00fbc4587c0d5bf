import { afterAll, beforeAll, expect, it } from "vitest";
import type { Child } from "../../sim/stack/child.ts";
import { simulatedPlan } from "../../sim/stack/plan.ts";
import { UNREACHED_RETRY_MS } from "../../src/bounds.ts";
import { NEAR, QUICK, QUICK_MODEL, type Region } from "../support/endings.ts";
import { live, stillHeld, UNSTARTED_HELD_MAX_MS } from "../support/held.ts";
import { eventually, type LedgerEntry, type TestStack, testStack } from "../support/stack.ts";

/**
 * Clients of one location keep asking while something fails there. While any region has room, none of them sees an error:
 * not before the first byte, and of these streams, which can be carried on, not after it either. The same in virtual time
 * and at scale: bench/scenarios.ts. Each scenario has a region of its own, so that none waits for another's breakers.
 */
const CLIENTS = 6;
let stack: TestStack;
beforeAll(async () => {
  const plan = simulatedPlan(2);
  stack = await testStack({ plan: { ...plan, models: [...plan.models, QUICK_MODEL] } });
});
afterAll(() => stack?.end());

interface Asked {
  readonly id: string | null;
  readonly region: string | null;
  readonly attempts: number;
  /** Why there was no answer, or how it broke off. */
  readonly error: string | null;
}

/** Clients that ask one after the other, streams and one JSON in turn, until they are told to stop. */
class Crowd {
  readonly asked: Asked[] = [];
  readonly #model: string;
  readonly #from: Region;
  readonly #maxRetries: number;
  readonly #clients: Promise<void>[];
  #over = false;

  constructor(from: Region, { model = "sim-chat", maxRetries = 0, clients = CLIENTS } = {}) {
    this.#from = from;
    this.#model = model;
    this.#maxRetries = maxRetries;
    this.#clients = Array.from({ length: clients }, (_, client) => this.#keepAsking(client));
  }

  /** Resolves when so many more requests have ended. */
  async after(requests: number): Promise<void> {
    const enough = this.asked.length + requests;
    const ended = () =>
      eventually(
        async () => this.asked.length,
        (length) => length >= enough,
        20_000,
      );
    expect(await ended()).toBeGreaterThanOrEqual(enough);
  }

  /** Resolves when `region` answers those who come now. */
  async servedBy(region: Region): Promise<void> {
    const last = async () => this.asked.slice(-CLIENTS).every((one) => one.region === region);
    await this.after(CLIENTS);
    expect(await eventually(last, Boolean, 20_000), `${region} serves`).toBe(true);
  }

  async leave(): Promise<readonly Asked[]> {
    this.#over = true;
    await Promise.all(this.#clients);
    return this.asked;
  }

  async #keepAsking(client: number): Promise<void> {
    for (let turn = 0; !this.#over; turn++) this.asked.push(await this.#ask(client, turn));
  }

  async #ask(client: number, turn: number): Promise<Asked> {
    const sdk = stack.openai({ location: NEAR[this.#from], maxRetries: this.#maxRetries });
    const content = `${this.#model}, client ${client} of ${this.#from}, turn ${turn}: tell me a story. [len=20]`;
    const body = { model: this.#model, messages: [{ role: "user" as const, content }] };
    let headers = new Headers();
    try {
      if ((client + turn) % 2 === 0) {
        const { data, response } = await sdk.chat.completions.create(body).withResponse();
        headers = response.headers;
        if (data.choices[0]?.finish_reason !== "stop") throw new Error("an answer without an end");
      } else {
        const { data, response } = await sdk.chat.completions
          .create({ ...body, stream: true })
          .withResponse();
        headers = response.headers;
        let finished = false;
        for await (const { choices } of data) finished ||= choices[0]?.finish_reason === "stop";
        if (!finished) throw new Error("a stream without an end");
      }
      return { ...toldIn(headers), error: null };
    } catch (error) {
      return { ...toldIn(headers), error: String(error) };
    }
  }
}

function toldIn(headers: Headers): Omit<Asked, "error"> {
  const attempts = Number(headers.get("x-meridian-attempts"));
  return { id: headers.get("x-request-id"), region: headers.get("x-meridian-region"), attempts };
}

const errorsOf = (asked: readonly Asked[]) => asked.filter(({ error }) => error !== null);

/** Kills processes, and whatever comes in their place, until they may come back. */
function killed(children: readonly Child[]): { mayComeBack(): void } {
  const kill = () => {
    for (const child of children) child.kill("SIGKILL");
  };
  kill();
  const timer = setInterval(kill, 50);
  return { mayComeBack: () => clearInterval(timer) };
}

function allOf(region: Region): Child[] {
  const replicas = [...stack.replicas].filter(([id]) => id.startsWith(region)).map(([, child]) => child);
  return [stack.gates.get(region)!, ...replicas];
}

async function entriesAt(replica: string, model: string): Promise<readonly LedgerEntry[]> {
  const { entries } = await stack.ledgers();
  return entries.filter((entry) => entry.replica === replica && entry.model === model);
}

async function breakerOf(pool: Region, replica: string, model: string): Promise<string> {
  const { state } = (await live(stack, pool)).find((one) => one.model === model)!;
  return state.replicas.find(({ id }) => id === replica)?.breaker ?? "unknown";
}

it("a region dies, returns and dies again", async () => {
  const crowd = new Crowd("eu-west");
  await crowd.servedBy("eu-west");
  for (let deaths = 0; deaths < 2; deaths++) {
    const death = killed(allOf("eu-west"));
    await crowd.after(4 * CLIENTS);
    death.mayComeBack();
    await crowd.servedBy("eu-west");
  }
  const asked = await crowd.leave();
  expect(errorsOf(asked)).toEqual([]);
  const regions = new Set(asked.map(({ region }) => region));
  expect(regions.size).toBeGreaterThan(1);
});

it("a gate is dead while its pool's object goes on granting: one request in a while finds out", async () => {
  const crowd = new Crowd("ap-southeast", { clients: 1 });
  await crowd.after(2);
  const fromMs = Date.now();
  const death = killed([stack.gates.get("ap-southeast")!]);
  await crowd.after(20);
  const diedMs = Date.now() - fromMs;
  death.mayComeBack();
  const asked = await crowd.leave();
  expect(errorsOf(asked)).toEqual([]);
  const failedOver = asked.filter(({ attempts }) => attempts > 1).length;
  expect(failedOver).toBeGreaterThan(0);
  expect(failedOver).toBeLessThanOrEqual(2 + diedMs / UNREACHED_RETRY_MS);
});

it("a replica is five times as slow", async () => {
  await stack.fault("us-east-0", { slow: { factor: 5 } });
  const crowd = new Crowd("us-east");
  await crowd.after(12 * CLIENTS);
  await stack.fault("us-east-0", {});
  const asked = await crowd.leave();
  expect(errorsOf(asked)).toEqual([]);
  // Slow is not broken: it gets what it can take.
  const [slow, quick] = await Promise.all(["us-east-0", "us-east-1"].map((id) => entriesAt(id, "sim-chat")));
  expect(slow!.length).toBeGreaterThan(0);
  expect(slow!.length).toBeLessThan(quick!.length);
});

it("a replica hangs while its health page says that all is well", async () => {
  await stack.fault("us-east-1", { freeze: {} });
  const crowd = new Crowd("us-east", { model: QUICK });
  const breaker = () => breakerOf("us-east", "us-east-1", QUICK);
  expect(await eventually(breaker, (state) => state !== "closed")).not.toBe("closed");
  await crowd.after(3 * CLIENTS);
  await stack.fault("us-east-1", {});
  expect(errorsOf(await crowd.leave())).toEqual([]);
});

it("a replica answers at once, with garbage", async () => {
  await stack.fault("ap-southeast-0", { garbage: { afterTokens: 0 } });
  const crowd = new Crowd("ap-southeast");
  const breaker = () => breakerOf("ap-southeast", "ap-southeast-0", "sim-chat");
  expect(await eventually(breaker, (state) => state !== "closed")).not.toBe("closed");
  await crowd.after(3 * CLIENTS);
  await stack.fault("ap-southeast-0", {});
  expect(errorsOf(await crowd.leave())).toEqual([]);
});

it("the edge and all objects restart under load: the SDK's own retries bridge it, and nothing stays held", async () => {
  const crowd = new Crowd("ap-southeast", { maxRetries: 8 });
  await crowd.after(2 * CLIENTS);
  const { restarts } = stack.edge;
  stack.edge.kill("SIGKILL");
  expect(
    await eventually(
      async () => stack.edge.restarts,
      (now) => now > restarts,
    ),
  ).toBeGreaterThan(restarts);
  await crowd.after(4 * CLIENTS);
  const asked = await crowd.leave();
  // What had begun is cut with the process that sent it, and no more than that: one answer of each client.
  const unbegun = errorsOf(asked).filter(({ region }) => region === null);
  expect(unbegun).toEqual([]);
  expect(errorsOf(asked).length).toBeLessThanOrEqual(CLIENTS);
  expect(await stillHeld(stack, undefined, UNSTARTED_HELD_MAX_MS)).toEqual([]);
}, 180_000);
