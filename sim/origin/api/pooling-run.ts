/** Runs a pooling request: a prefill per input, then one JSON. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AnswerFaults } from "../faults.ts";
import { type LedgerEntry, noteTokens } from "../ledger.ts";
import type { Site } from "../site.ts";
import { ClientSocket } from "./client-socket.ts";
import { engineDead } from "./errors.ts";
import { sendError, sendJson } from "./http.ts";
import type { PoolingPlan } from "./pooling.ts";

export class PoolingAnswer {
  readonly #site: Site;
  readonly #plan: PoolingPlan;
  readonly #entry: LedgerEntry;
  readonly #faults: AnswerFaults;
  readonly #socket: ClientSocket;
  readonly #jobs = new Set<number>();
  #over = false;

  constructor(
    site: Site,
    plan: PoolingPlan,
    entry: LedgerEntry,
    faults: AnswerFaults,
    req: IncomingMessage,
    res: ServerResponse,
  ) {
    this.#site = site;
    this.#plan = plan;
    this.#entry = entry;
    this.#faults = faults;
    this.#socket = new ClientSocket(req, res, () => this.#close("aborted"));
  }

  start(): void {
    this.#entry.status = 200;
    this.#entry.promptTokens = this.#plan.inputs.reduce((sum, input) => sum + input.length, 0);
    noteTokens(this.#entry, this.#entry.promptTokens);
    this.#site.answers.add(this);
    for (const input of this.#plan.inputs) {
      // Without names nothing is cached, as for embeddings in vLLM.
      const job = { promptTokens: input.length, blockNames: [] };
      const id = this.#site.loop.submit(job, {
        started: () => {
          this.#entry.state = "running";
        },
        token: () => this.#computed(id),
      });
      this.#jobs.add(id);
    }
  }

  fail(how: "engineError" | "cut"): void {
    if (this.#over) return;
    this.#close("failed");
    if (how === "cut") {
      this.#socket.cut("");
    } else {
      this.#entry.status = 500;
      sendError(this.#socket.res, engineDead());
    }
  }

  #computed(id: number): void {
    if (this.#over) return;
    const { stall, die, cut, engineError, garbage, endWithoutDone } = this.#faults;
    if (stall !== undefined) this.#site.loop.park(id);
    else if (die !== undefined) this.#site.die();
    else if (cut !== undefined) this.fail("cut");
    else if (engineError !== undefined) this.fail("engineError");
    else this.#finish(id, garbage !== undefined || endWithoutDone !== undefined);
  }

  #finish(id: number, spoiled: boolean): void {
    this.#site.loop.remove(id);
    this.#jobs.delete(id);
    if (this.#jobs.size > 0) return;
    const body = JSON.stringify(this.#plan.body());
    this.#close(spoiled ? "failed" : "finished");
    sendJson(this.#socket.res, 200, spoiled ? body.slice(0, Math.floor(body.length / 2)) : body);
  }

  #close(state: "finished" | "aborted" | "failed"): void {
    if (this.#over) return;
    this.#over = true;
    this.#entry.state = state;
    this.#entry.aborted = state === "aborted";
    for (const job of this.#jobs) this.#site.loop.remove(job);
    this.#socket.settle();
    this.#site.answers.delete(this);
  }
}
