/** What a check and a mutant are. Checks are grouped in modules; registry.ts lists them all. */

export type Result =
  | { readonly kind: "pass"; readonly detail: string }
  | { readonly kind: "fail"; readonly lines: readonly string[] }
  /** The tool that the check needs is not on this machine. Never a failure, never silent. */
  | { readonly kind: "skip"; readonly why: string };

export interface CheckContext {
  /** Root of the tree under check, absolute: the checkout, or a scratch copy with a mutation in it. */
  readonly root: string;
  /** Generated files that may be kept between runs, absolute. */
  readonly cache: string;
  /** One line of progress for whoever waits. */
  readonly say: (line: string) => void;
}

export interface Check {
  /** Stable: mutants name the check that must catch them. */
  readonly name: string;
  /** What a green result does not mean; printed beside it. */
  readonly notProved: string;
  /** May throw: an exception is a failure. */
  readonly run: (context: CheckContext) => Promise<Result>;
}

/** One planted mistake. `from` must occur in `file`, or the mutant itself is stale and fails. */
export interface Mutant {
  readonly name: string;
  /** Relative to the root. */
  readonly file: string;
  readonly from: string;
  readonly to: string;
  /** The check that must fail with the mistake planted. */
  readonly caughtBy: string;
  /** Part of that check's failure: it must fail for this reason and no other. */
  readonly because: RegExp;
}

export interface CheckModule {
  readonly checks: readonly Check[];
  readonly mutants: readonly Mutant[];
}

export const pass = (detail: string): Result => ({ kind: "pass", detail });
export const fail = (...lines: readonly string[]): Result => ({ kind: "fail", lines });
export const skip = (why: string): Result => ({ kind: "skip", why });
/** Passes when nothing was found. */
export const verdict = (found: readonly string[], detail: string): Result =>
  found.length === 0 ? pass(detail) : { kind: "fail", lines: found };
