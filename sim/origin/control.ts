/** The `/_sim/*` routes, through which tests break the replica and read its ledger. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { readText, sendJson, sendText } from "./api/http.ts";
import { FAULT_SHAPES, type FaultSet, parseFaults } from "./faults.ts";
import { renderDcgm } from "./metrics.ts";
import type { Site } from "./site.ts";

export const DEFAULT_RESTART_MS = 500;
/** Lets the answer to the control request leave before its connection is closed too. */
const AFTER_ANSWER_MS = 10;

export async function control(
  site: Site,
  path: string,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> {
  const text = await readText(req);
  switch (`${req.method} ${path}`) {
    case "POST /_sim/faults":
      return setFaults(site, text, res);
    case "GET /_sim/faults":
      return sendJson(res, 200, site.board.active);
    case "GET /_sim/ledger":
      return sendJson(res, 200, site.ledger.toJSON());
    case "POST /_sim/ledger/reset":
      site.ledger.reset();
      return sendJson(res, 200, {});
    case "GET /_sim/dcgm": {
      const page = renderDcgm(site.options, site.board.peek("report"));
      return sendText(res, 200, page, { "content-type": "text/plain; version=0.0.4; charset=utf-8" });
    }
    default:
      return sendJson(res, 404, { detail: "Not Found" });
  }
}

function setFaults(site: Site, text: string, res: ServerResponse): void {
  try {
    const faults = parseFaults(text);
    applyFaults(site, faults);
    sendJson(res, 200, faults);
  } catch (error) {
    sendJson(res, 400, { error: (error as Error).message, faults: FAULT_SHAPES });
  }
}

/** Puts a set of faults in force, in place of those before. */
export function applyFaults(site: Site, faults: FaultSet): void {
  const { restart, die, refuse, slow, freeze } = faults;
  site.board.set(faults);
  // With `match` or `count` these two concern single requests and not the engine as a whole.
  site.loop.slow(slow !== undefined && isForAll(slow) ? slow.factor! : 1);
  site.loop.freeze(freeze !== undefined && isForAll(freeze));
  if (restart !== undefined && restart.match === undefined) {
    site.board.clear("restart");
    setTimeout(() => site.restart(restart.ms ?? DEFAULT_RESTART_MS), AFTER_ANSWER_MS);
  }
  if (refuse?.ms !== undefined) {
    const { ms } = refuse;
    site.board.clear("refuse");
    setTimeout(() => site.closeListener(ms), AFTER_ANSWER_MS);
  }
  if (die !== undefined && die.match === undefined && die.afterTokens === undefined) {
    setTimeout(() => site.die(), AFTER_ANSWER_MS);
  }
}

function isForAll(fault: { readonly count?: number; readonly match?: string }): boolean {
  return fault.count === undefined && fault.match === undefined;
}
