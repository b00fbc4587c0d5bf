import type { Mutant } from "../check.ts";

/** One planted mistake, in one line where it fits. */
export function mutant(
  name: string,
  file: string,
  from: string,
  to: string,
  caughtBy: string,
  because: RegExp,
): Mutant {
  return { name, file, from, to, caughtBy, because };
}
