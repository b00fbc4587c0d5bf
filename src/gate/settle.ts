import type { OriginOrder } from "../contract/origin-token.ts";
import type { Usage, UsageReport } from "../contract/report.ts";
import type { Endpoint, Prepared } from "../engine/endpoint.ts";
import type { Ending } from "./endings.ts";
import type { Exchange } from "./exchange.ts";
import type { Log } from "./log.ts";
import { finalReport, type Meter } from "./meter.ts";
import type { Counters } from "./metrics.ts";
import { countPrompt } from "./prompt.ts";
import type { Answer } from "./relay/answer.ts";
import type { Replica } from "./replicas.ts";
import type { Reporter } from "./reporter.ts";
import type { Summary } from "./setup.ts";

export interface SettleParts {
  readonly engineApiKey: string | undefined;
  readonly meter: Meter;
  readonly reporter: Reporter;
  readonly counters: Counters;
  readonly log: Log;
}

export interface Ended {
  readonly endpoint: Endpoint;
  readonly prepared: Prepared;
  readonly order: OriginOrder;
  readonly replica: Replica;
  readonly answer: Answer;
  readonly summary: Summary;
  readonly exchange: Exchange;
  /** The bill of the attempt that this one carried on, where nobody else tells it. */
  before?(): UsageReport | null;
}

/** The last word on a request: to the bill and to the log. Never rejects. */
export async function settle(parts: SettleParts, ended: Ended): Promise<void> {
  const { order, replica, answer, summary, exchange } = ended;
  const { ending } = summary;
  // Nothing was sent and another replica may do better: the edge goes on under the same reservation. White space that
  // bridged the wait for one JSON is nothing, too.
  const toldNothing = !summary.sent || ended.prepared.mode !== "stream";
  const again = ending.failure !== null && ending.retryable && toldNothing;
  const { usage, estimated } = summary.cut
    ? { usage: answer.delivered(), estimated: false }
    : again
      ? { usage: answer.usage(), estimated: false }
      : await billOf(parts, ended);
  // Open until now, so that a gate that leaves waits for the bill.
  parts.meter.end(exchange);
  // A breaker should know of a failure as soon as a budget knows of a bill.
  const before = ended.before?.() ?? null;
  if (again) parts.reporter.hurry();
  else {
    // First: the request is over with the other.
    if (before !== null) parts.reporter.final(before);
    parts.reporter.final(
      finalReport(order, usage, ending.outcome, estimated, summary.cut, summary.firstTokenMs),
    );
  }

  if (estimated) parts.counters.estimated += 1;
  parts.counters.end(ending.outcome, usage, answer.events, ending.engineRuns);
  parts.log.info("request", {
    requestId: order.requestId,
    attempt: order.attempt,
    path: order.path,
    replica: replica.id,
    outcome: ending.outcome,
    reason: internalDetail(ending),
    billed: !again,
    estimated,
    ...usage,
    firstTokenMs: summary.firstTokenMs === null ? null : Math.round(summary.firstTokenMs),
    durationMs: Math.round(summary.durationMs),
  });
}

/** What is charged. The engine's own count; where it never gave one, only a client that left pays for its prompt. */
async function billOf(
  parts: SettleParts,
  { endpoint, prepared, order, replica, answer, summary }: Ended,
): Promise<{ usage: Usage; estimated: boolean }> {
  const usage = answer.usage();
  const nothingMade = usage.outputTokens === 0;
  const freeOfCharge = (summary.ending.failure !== null && nothingMade) || !summary.engineReached;
  if (answer.promptKnown || freeOfCharge) return { usage, estimated: false };
  const engine = { url: replica.url, apiKey: parts.engineApiKey };
  const { tokens, estimated } = await countPrompt(endpoint.id, prepared.body, order, engine);
  return { usage: { ...usage, promptTokens: tokens }, estimated };
}

function internalDetail({ failure }: Ending): string | null {
  return failure !== null && "internalDetail" in failure ? failure.internalDetail : null;
}
