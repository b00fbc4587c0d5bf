import type { LocationHint } from "../catalogue.ts";
import type { Env } from "../env.ts";

/**
 * The one place that names objects. Name and hint go together: the same name asked for with another hint would
 * silently reach the object where it first was. A generation in the name lets an operator move an object.
 */
export interface BudgetAddress {
  readonly tenantRef: string;
  readonly homeHint: LocationHint;
  readonly generation: number;
}

export function tenantBudget(env: Env, { tenantRef, homeHint, generation }: BudgetAddress) {
  const name = `${tenantRef}/${homeHint}/${generation}`;
  return env.TENANT_BUDGET.getByName(name, { locationHint: hint(homeHint) });
}

/** One object per pool and model (cells of at most 32 replicas come with pools larger than that). */
export function regionPool(env: Env, pool: string, poolHint: LocationHint, model: string) {
  return env.REGION_POOL.getByName(`${pool}/${poolHint}/${model}/0`, { locationHint: hint(poolHint) });
}

export function directory(env: Env, readersHint: LocationHint) {
  return env.DIRECTORY.getByName(readersHint, { locationHint: hint(readersHint) });
}

export function registry(env: Env) {
  return env.REGISTRY.getByName("registry");
}

/** The runtime knows more hints than its published types do. */
function hint(name: LocationHint): DurableObjectLocationHint {
  return name as DurableObjectLocationHint;
}
