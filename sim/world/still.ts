import type { Pace } from "../../src/limits/lease.ts";
import type { SimHolder } from "./holder.ts";
import type { SimHome } from "./home.ts";
import { check } from "./violation.ts";

/** L1 of the gauges: where nothing runs any more, nobody counts a stream, nor does the home of a holder that told it last. */
export function checkStill({ store }: SimHome, holders: readonly SimHolder[]): void {
  for (const scope of store.scopes()) still(scope, store.account(scope)!.pace);
  for (const lease of store.leases())
    if (lease.state === "open") still(`lease of ${lease.holder}`, lease.pace);
  for (const holder of holders) {
    for (const scope of holder.store.scopes()) {
      still(`${scope} at ${holder.place}`, holder.store.account(scope)!.pace);
    }
  }
}

function still(where: string, { streams, tokensPerSecond }: Pace): void {
  const told = () => `${where} still counts ${streams} streams at ${tokensPerSecond} tokens a second`;
  check(streams === 0 && tokensPerSecond === 0, "L1", told);
}
