import { expect } from "vitest";
import type { OriginOrder } from "../../src/contract/origin-token.ts";
import { readDelivered } from "../../src/engine/continuation/delivered.ts";
import type { Endpoint, JsonObject } from "../../src/engine/endpoint.ts";
import { SseParser } from "../../src/engine/sse.ts";
import { beginConverted, carryOn } from "../../src/gate/continue.ts";
import { engineEnding } from "../../src/gate/endings.ts";
import { streamAnswer } from "../../src/gate/relay/stream.ts";
import { ORDER } from "../unit/engine/support.ts";

/** A stream of an engine as gates and edge handle it, cut anywhere and carried on. */

export interface Carrier {
  /** The stream as the gate sends it, with the gate's last words after each event. */
  unbroken(endpoint: Endpoint, body: JsonObject): Promise<Unbroken>;
  /** The whole stream after a cut; null where it cannot be carried on. */
  carried(endpoint: Endpoint, body: JsonObject, sent: Uint8Array, exact?: boolean): Promise<string | null>;
  /** The same, with what it cost. */
  resumed(endpoint: Endpoint, body: JsonObject, sent: Uint8Array, exact?: boolean): Promise<Resumed | null>;
  /** What the engine answers by itself. */
  ask(path: string, body: JsonObject): Promise<Uint8Array>;
}

export interface Resumed {
  readonly stream: string;
  /** Prompt and output tokens on the bill: of all attempts before, and of the one that carried it on. */
  readonly charged: readonly [promptTokens: number, outputTokens: number];
}

export interface Unbroken {
  readonly bytes: Uint8Array;
  readonly told: readonly { readonly at: number; readonly words: string }[];
}

/** @param servedModel the engine's name for its model */
export function carrier(url: () => string, servedModel: string): Carrier {
  const order: OriginOrder = { ...ORDER, servedModel, requestId: "req_x", resumable: true };
  const engineError = (status: number, message: string) =>
    engineEnding({ status, message, param: null }, servedModel);
  const ask = async (path: string, body: JsonObject) => {
    const response = await fetch(url() + path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    if (response.status !== 200) throw new Error(await response.text());
    return new Uint8Array(await response.arrayBuffer());
  };
  const begin = (endpoint: Endpoint, body: JsonObject) =>
    beginConverted(endpoint, body, order, engineError) ?? {
      path: endpoint.enginePath,
      body: endpoint.prepare(body, order).body,
      answer: streamAnswer(endpoint.reader(body, order), engineError),
    };
  const resumed: Carrier["resumed"] = async (endpoint, body, sent, exact = true) => {
    const delivered = readDelivered(endpoint.id, sent, exact);
    if (delivered === null) return null;
    const before = new TextDecoder().decode(sent) + delivered.tail;
    const { continuation, told, unreported, paid } = delivered;
    if (delivered.complete) return { stream: before, charged: [-1, -1] };
    const continues = {
      ...{ ticket: "t", told, ...(paid === null ? {} : { paid }) },
      ...(unreported ? { unreported } : {}),
    };
    const engine = { url: url(), apiKey: undefined };
    const envelope = { continuation: JSON.parse(JSON.stringify(continuation)), body };
    const plan = await carryOn(endpoint, envelope, { ...order, continues }, engine, engineError);
    if (plan.kind === "failed" && !plan.ending.retryable) return null;
    if (plan.kind === "failed") throw new Error("failed");
    // A gate that had last words reports for itself.
    const attempts = [told === null || unreported ? paid : told];
    let stream = before;
    if (plan.kind === "finished") {
      stream += plan.text;
      attempts.push(plan.before?.usage ?? null);
    } else {
      const taken = plan.answer.take(await ask(plan.path, plan.body));
      expect([taken.broken, plan.answer.complete]).toEqual([null, true]);
      expect(plan.answer.usage().promptTokens).toBe(0);
      stream += taken.text;
      attempts.push(plan.before()?.usage ?? null, plan.answer.usage());
    }
    const sum = (of: "promptTokens" | "outputTokens") =>
      attempts.reduce((total, attempt) => total + (attempt?.[of] ?? 0), 0);
    return { stream, charged: [sum("promptTokens"), sum("outputTokens")] };
  };
  return {
    ask,
    async unbroken(endpoint, body) {
      const { path, body: prepared, answer } = begin(endpoint, body);
      const told: { at: number; words: string }[] = [];
      let text = "";
      for (const event of new SseParser().push(await ask(path, prepared))) {
        text += answer.take(new TextEncoder().encode(event.raw)).text;
        told.push({ at: new TextEncoder().encode(text).length, words: answer.lastWords(null) });
      }
      return { bytes: new TextEncoder().encode(text), told };
    },
    async carried(endpoint, body, sent, exact = true) {
      return (await resumed(endpoint, body, sent, exact))?.stream ?? null;
    },
    resumed,
  };
}

export interface Said {
  readonly text: string;
  readonly ids: number;
  readonly roles: number;
  /** Events that begin a response, which no other format has. */
  readonly begun: number;
  readonly ends: readonly unknown[];
  readonly usage: unknown;
  readonly dones: number;
}

/** What an SDK makes of a stream. Throws on an event that is no JSON. */
export function said(stream: string): Said {
  const parser = new SseParser();
  const events = parser.push(new TextEncoder().encode(stream));
  if (parser.end()) throw new Error("half an event was left");
  let text = "";
  let roles = 0;
  let begun = 0;
  let dones = 0;
  const ids = new Set<unknown>();
  const ends: unknown[] = [];
  let usage: unknown = null;
  let sequence = -1;
  for (const event of events.filter(({ comment }) => !comment)) {
    if (event.data === "[DONE]") {
      dones += 1;
      continue;
    }
    const frame = JSON.parse(event.data);
    if (event.event !== null && frame.sequence_number !== undefined) {
      expect(frame.sequence_number).toBe(sequence + 1);
      sequence = frame.sequence_number;
    }
    const choice = frame.choices?.[0];
    text += choice?.delta?.content ?? choice?.text ?? frame.delta?.text ?? "";
    if (frame.type === "response.output_text.delta") text += frame.delta;
    ids.add(frame.id ?? frame.item_id ?? null);
    if (choice?.delta?.role || frame.type === "message_start" || frame.type === "response.content_part.added")
      roles += 1;
    if (frame.type === "response.created" || frame.type === "response.in_progress") begun += 1;
    if (choice?.finish_reason) ends.push(choice.finish_reason);
    if (frame.type === "message_delta") ends.push(frame.delta.stop_reason);
    if (frame.type === "message_stop") dones += 1;
    if (frame.type === "response.completed") {
      ends.push(frame.response.status, frame.response.output[0]?.content[0].text ?? "");
      dones += 1;
    }
    const shown = frame.type === "message_start" ? null : (frame.usage ?? frame.response?.usage ?? null);
    if (shown !== null) {
      usage = [shown.prompt_tokens ?? shown.input_tokens + (shown.cache_read_input_tokens ?? 0)];
      (usage as unknown[]).push(shown.completion_tokens ?? shown.output_tokens);
    }
  }
  return { text, ids: ids.has(null) ? 0 : ids.size, roles, begun, ends, usage, dones };
}
