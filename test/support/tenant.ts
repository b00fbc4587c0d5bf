import type { KeyRecord, Limits, TenantRecord } from "../../src/catalogue.ts";
import type { Usage } from "../../src/contract/report.ts";
import type { Account } from "../../src/limits/account.ts";
import type { Block, BlockChange } from "../../src/limits/block.ts";
import type { Book, Change } from "../../src/limits/book.ts";
import { HOME_PURSE } from "../../src/limits/purse.ts";
import type { Reservation } from "../../src/limits/reservation.ts";

/** A tenant with one key, as the registry would deliver it. */
export function tenantRecord(
  limits: Limits,
  { key = {}, endUserLimits = {}, overdraft = "debt" as "debt" | "stop", version = 1 } = {} as {
    key?: Partial<KeyRecord>;
    endUserLimits?: Limits;
    overdraft?: "debt" | "stop";
    version?: number;
  },
): TenantRecord {
  return {
    tenant: {
      id: "acme",
      name: "Acme",
      ref: "00000000abc",
      limits,
      endUserLimits,
      overdraft,
      softAllowanceTokens: 0,
      homeHint: "enam",
      suspended: false,
      version,
      createdAtMs: 0,
    },
    keys: [
      { id: "key0000001", secretHash: "hash", limits: {}, expiresAtMs: null, revokedAtMs: null, ...key },
    ],
  };
}

export const ASK = {
  requestId: "req_1",
  from: "enam",
  keyId: "key0000001",
  secretHash: "hash",
  endUser: null,
  model: "m",
  promptTokens: 10,
  maxOutputTokens: null,
  choices: 1,
  generates: true,
} as const;

/** A book in memory that also adds up what was settled, for comparison with what was reported. */
export class MemoryBook implements Book<Account> {
  readonly purse = HOME_PURSE;
  record: TenantRecord;
  readonly accounts = new Map<string, Account>();
  readonly reservations = new Map<string, Reservation>();
  readonly blocks = new Map<string, Block>();
  settled: Usage = { promptTokens: 0, cachedTokens: 0, outputTokens: 0 };
  counted = 0;

  constructor(record: TenantRecord) {
    this.record = record;
  }

  account(scope: string): Account | undefined {
    return this.accounts.get(scope);
  }

  reservation(id: string): Reservation | undefined {
    return this.reservations.get(id);
  }

  block(id: string): Block | undefined {
    return this.blocks.get(id);
  }

  applyBlock(change: BlockChange<Account> | null): void {
    if (!change) return;
    for (const account of change.accounts) this.accounts.set(account.scope, account);
    this.blocks.set(change.block.id, change.block);
  }

  apply(change: Change<Account> | null): void {
    if (!change) return;
    for (const account of change.accounts) this.accounts.set(account.scope, account);
    this.reservations.set(change.reservation.id, change.reservation);
    if (change.block) this.blocks.set(change.block.id, change.block);
    this.settled = {
      promptTokens: this.settled.promptTokens + change.settled.promptTokens,
      cachedTokens: this.settled.cachedTokens + change.settled.cachedTokens,
      outputTokens: this.settled.outputTokens + change.settled.outputTokens,
    };
    this.counted += change.counted ? 1 : 0;
  }
}
