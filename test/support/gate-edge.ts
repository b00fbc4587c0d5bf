import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { macKey } from "../../src/contract/encoding.ts";
import {
  claimedSigner,
  GATE_SIGNATURE_HEADER,
  type GateReply,
  type GateReport,
  gateReportSchema,
  type UsageReport,
  verifyReport,
} from "../../src/contract/report.ts";

/** An edge that takes reports: checks signature and schema as the real one does, and remembers. */
export interface FakeEdge {
  readonly url: string;
  readonly reports: GateReport[];
  /** Final reports by ticket, in order of arrival. */
  finals(ticket?: string): UsageReport[];
  /** How a report is answered; an empty reply unless set. A number is an HTTP status without one. */
  reply: (report: GateReport) => GateReply | number | Promise<GateReply>;
  /** Resolves as soon as `found` is true of what has arrived. */
  until(found: (edge: FakeEdge) => boolean): Promise<void>;
  close(): Promise<void>;
}

export const EMPTY_REPLY: GateReply = { stop: [], again: [] };

/** Stops every request that is reported while it runs. */
export const STOP_ALL = (report: GateReport): GateReply => ({
  stop: report.usage.filter(({ final }) => !final).map(({ ticket }) => ticket.replace("ticket", "req")),
  again: [],
});

export async function startFakeEdge(secret: string): Promise<FakeEdge> {
  const key = await macKey(secret);
  let waiting: { found: (edge: FakeEdge) => boolean; resolve: () => void }[] = [];
  const server = createServer(async (req, res) => {
    const chunks: Buffer[] = [];
    for await (const chunk of req) chunks.push(chunk as Buffer);
    const body = new Uint8Array(Buffer.concat(chunks));
    const signer = claimedSigner(String(req.headers[GATE_SIGNATURE_HEADER]));
    const genuine = signer !== null && (await verifyReport(body, signer.signature, key));
    if (req.url !== "/gate/v1/report" || !genuine) return void res.writeHead(403).end();
    const report = gateReportSchema.parse(JSON.parse(new TextDecoder().decode(body)));
    edge.reports.push(report);
    const reply = await edge.reply(report);
    if (typeof reply === "number") res.writeHead(reply).end();
    else res.end(JSON.stringify(reply));
    const isDone = waiting.filter(({ found }) => found(edge));
    waiting = waiting.filter((waiter) => !isDone.includes(waiter));
    for (const { resolve } of isDone) resolve();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const edge: FakeEdge = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    reports: [],
    reply: () => EMPTY_REPLY,
    finals: (ticket) =>
      edge.reports
        .flatMap(({ usage }) => usage)
        .filter((report) => report.final && (ticket === undefined || report.ticket === ticket)),
    until: (found) =>
      new Promise((resolve) => {
        if (found(edge)) resolve();
        else waiting.push({ found, resolve });
      }),
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return edge;
}
