import type { ServerResponse } from "node:http";
import type { OriginOrder } from "../contract/origin-token.ts";
import type { ErrorShape } from "../errors.ts";
import type { Clock } from "./clock.ts";
import type { Ending } from "./endings.ts";
import type { Answer } from "./relay/answer.ts";
import type { EngineCall } from "./upstream.ts";

/** What an exchange is given, and what it tells at its end. */
export interface Setup {
  readonly order: OriginOrder;
  readonly errorShape: ErrorShape;
  readonly res: ServerResponse;
  readonly call: EngineCall;
  readonly answer: Answer;
  readonly clock: Clock;
  /** False where nothing is to be seen of the first token: one JSON that the engine generates. */
  readonly firstTokenSeen: boolean;
  /** The age at which it is slow. */
  readonly slowAfterMs: number;
  readonly slowOf: "first_token" | "total";
  /** Whether the edge can carry on a stream that is cut off. */
  readonly resumable: boolean;
  readonly answerMaxMs: number;
  readonly abortDrainMs: number;
  /** Called once at most, when it reaches that age and runs still. */
  onSlow(): void;
  /** Called once, when nothing more will be counted. */
  onEnded(summary: Summary): void;
}

export interface Summary {
  readonly ending: Ending;
  /** Whether the edge got anything but a true error status. */
  readonly sent: boolean;
  /** Whether it was cut off for the edge to carry it on. */
  readonly cut: boolean;
  readonly firstTokenMs: number | null;
  readonly durationMs: number;
  /** False when the engine never heard of the request. */
  readonly engineReached: boolean;
  /** True when the replica refused the connection. */
  readonly connectionRefused: boolean;
  /** Whether nothing listens at the engine any more. */
  gone(): Promise<boolean>;
}
