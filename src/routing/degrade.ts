import type { Control, Model, Step } from "../catalogue.ts";

/**
 * The degradation ladder (docs/degradation.md): what may be tried for a request, in which order. Pure: a policy, what
 * humans have decided, and the circumstances in; a list of moves out. Whoever walks it stops at the first that answers.
 */

/** How a step stands: an operator's word comes before the model's policy, and forbidding before forcing. */
export type Stance = "forced" | "allowed" | "awaits" | "forbidden";

export function stanceOf(model: Model, step: Step, controls: readonly Control[], nowMs: number): Stance {
  const decided = (mode: Control["mode"]) =>
    controls.some(
      (control) =>
        control.model === model.id &&
        control.step === step &&
        control.mode === mode &&
        (control.untilMs === null || control.untilMs > nowMs),
    );
  if (decided("forbid")) return "forbidden";
  if (decided("force")) return "forced";
  return needsApproval(model, step) && !decided("allow") ? "awaits" : "allowed";
}

export function needsApproval({ degrade }: Model, step: Step): boolean {
  return step !== "refuse" && (degrade?.needsApproval.includes(step) ?? false);
}

/** Whether a kept answer that is fresh may be served: that is no degradation, but an operator's word counts for it, too. */
export function mayServeFresh(model: Model, controls: readonly Control[], nowMs: number): boolean {
  const cache = stanceOf(model, "cache", controls, nowMs);
  const isOff = stanceOf(model, "refuse", controls, nowMs) === "forced";
  return cache === "forced" || (cache !== "forbidden" && !isOff);
}

export type Move =
  /** Serves the answer that was kept. */
  | { readonly kind: "cache" }
  | {
      readonly kind: "ask";
      readonly model: "own" | "smaller";
      /** `best`: the first region of the ranking alone. `other`: every region but that one, if there are others. */
      readonly regions: "any" | "best" | "other";
      /** With fewer output tokens than the client asked for. */
      readonly capped: boolean;
    }
  /** Only a human's yes is missing: it is asked for, and the walk goes on. */
  | { readonly kind: "propose"; readonly step: Step };

export interface Circumstances {
  readonly model: Model;
  readonly controls: readonly Control[];
  readonly nowMs: number;
  /** There is a kept answer for this request, though it may be stale. */
  readonly kept: boolean;
  /** The smaller model exists and is of the same kind. */
  readonly hasSmaller: boolean;
  readonly generates: boolean;
  /** Every region that may take it is full. */
  readonly saturated: boolean;
}

/** The moves in order. After the last one comes 503; none at all: an operator has switched the model off. */
export function plan(given: Circumstances): Move[] {
  const { model, controls, nowMs, kept, hasSmaller, saturated } = given;
  const stance = (step: Step) => stanceOf(model, step, controls, nowMs);
  const canCap = given.generates && model.degrade?.maxTokens !== undefined;
  const [cache, region, smaller, fewer] = [
    ...[kept ? stance("cache") : "forbidden", stance("region")],
    ...[hasSmaller ? stance("model") : "forbidden", canCap ? stance("max-tokens") : "forbidden"],
  ] as [Stance, Stance, Stance, Stance];

  const moves: Move[] = [];
  if (cache === "forced") moves.push({ kind: "cache" });
  if (stance("refuse") === "forced") return moves;
  const regions = region === "forced" ? "other" : region === "allowed" ? "any" : "best";
  const capped = fewer === "forced" || (fewer === "allowed" && saturated);
  const first = smaller === "forced" ? "smaller" : "own";
  moves.push({ kind: "ask", model: first, regions, capped });
  const follow = (stance: Stance, step: Step, move: Move) => {
    if (stance === "allowed") moves.push(move);
    if (stance === "awaits") moves.push({ kind: "propose", step });
  };
  if (region === "awaits") moves.push({ kind: "propose", step: "region" });
  follow(cache, "cache", { kind: "cache" });
  // That its own regions are full says nothing about the smaller model's.
  follow(smaller, "model", { kind: "ask", model: "smaller", regions, capped: fewer === "forced" });
  if (!capped) follow(fewer, "max-tokens", { kind: "ask", model: first, regions, capped: true });
  return moves;
}
