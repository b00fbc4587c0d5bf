import { expect } from "vitest";
import { REPORT_SILENCE_MAX_MS } from "../../../src/bounds.ts";
import { eventually } from "../../support/stack.ts";
import { type Asked, Load } from "./load.ts";
import type { Entry, Region } from "./region.ts";

const LANES = 12;
/** A gate reports each second, and the end of a request after 0.1 s; the rest is for a busy machine. */
const REPORTED_WITHIN_MS = 2_000;

interface Tokens {
  promptTokens: number;
  outputTokens: number;
}

export interface Books {
  readonly billed: Tokens;
  readonly ledger: Tokens;
  /** The part of the ledger that a gate which died may not have reported: streams that broke, or ended just before. */
  readonly unreported: Tokens;
}

/** Runs load through a region, and compares what the tenant is charged with what the replicas say. */
export class Bookkeeper {
  readonly #region: Region;
  readonly #answered: Asked[] = [];

  constructor(region: Region) {
    this.#region = region;
  }

  /** Makes a change while streams run, and returns what they saw. */
  async underLoad(change: () => Promise<void> = async () => {}): Promise<Load> {
    const load = new Load(this.#region, LANES);
    const reaches = (count: number) =>
      eventually(
        async () => load.asked.length,
        (now) => now >= count,
      );
    try {
      await reaches(LANES);
      await change();
      await reaches(load.asked.length + 2 * LANES);
    } finally {
      this.#answered.push(...(await load.stop()));
    }
    return load;
  }

  /** Once nothing is open: what a dead gate left open is closed after a minute of its silence. */
  async books(diedAtMs = Number.NaN): Promise<Books> {
    const usage = await eventually(
      () => this.#region.usage(),
      // A block that an isolate was given comes back a few seconds after its last request.
      ({ open }) => open.reservations === 0 && open.reservedTokens === 0,
      REPORT_SILENCE_MAX_MS + 30_000,
    );
    expect(usage.open).toEqual({ reservations: 0, running: 0, reservedTokens: 0 });
    const ledger = { promptTokens: 0, outputTokens: 0 };
    const unreported = { promptTokens: 0, outputTokens: 0 };
    for (const requests of (await this.#region.ledgers()).values()) {
      for (const [id, entry] of requests) {
        const asked = this.#askedAs(id);
        const tokens = tokensOf(entry, asked);
        add(ledger, tokens);
        const justEnded = asked !== undefined && Math.abs(diedAtMs - asked.endedAtMs) < REPORTED_WITHIN_MS;
        if (asked === undefined || asked.error !== null || justEnded) add(unreported, tokens);
      }
    }
    const { promptTokens, outputTokens } = usage.totals;
    return { billed: { promptTokens, outputTokens }, ledger, unreported };
  }

  async billIsExact(): Promise<void> {
    const { billed, ledger } = await this.books();
    expect(billed).toEqual(ledger);
    expect(ledger.outputTokens).toBeGreaterThan(0);
  }

  /** Both gates see replicas in these states. */
  async bothSee(expected: readonly string[]): Promise<void> {
    const states = async (gate: string) =>
      (await this.#region.seenBy(gate)).replicas.map(({ state }) => state).sort();
    const seen = await eventually(
      async () => [await states("a"), await states("b")],
      (both) => both.every((one) => one.join() === expected.join()),
    );
    expect(seen).toEqual([expected, expected]);
  }

  #askedAs(id: string): Asked | undefined {
    return this.#answered.find((one) => one.id !== "" && id.includes(one.id));
  }
}

/** A ledger that ended with its process is completed by what the client was shown of that answer. */
function tokensOf(entry: Entry, asked: Asked | undefined): Tokens {
  return entry.state === "running" ? (asked?.usage ?? entry) : entry;
}

function add(sum: Tokens, { promptTokens, outputTokens }: Tokens): void {
  sum.promptTokens += promptTokens;
  sum.outputTokens += outputTokens;
}
