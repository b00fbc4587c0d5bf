import type { Model } from "../catalogue.ts";
import { canonical } from "../engine/cacheable.ts";
import type { JsonObject } from "../engine/endpoint.ts";
import { isJsonObject } from "../engine/schema.ts";
import { chooseRevision, pointOf, revisionsOf } from "../routing/rollout.ts";
import type { Exchange } from "./exchange.ts";
import type { View } from "./view.ts";

/** A model that clients may name. A revision is one only in the name of the model that it revises. */
export function publicModel({ catalogue }: View, name: string): Model | undefined {
  return catalogue.models.find(({ id, revision }) => id === name && revision === undefined);
}

/** The revision that this request's session gets: the model itself, unless a rollout is under way. */
export function revisionFor(exchange: Exchange, view: View, model: Model): Model {
  const revisions = revisionsOf(model, view.catalogue.models);
  if (!revisions.some(({ revision }) => revision!.weight > 0)) return model;
  return chooseRevision(model, revisions, pointOf(`${model.id}\n${sessionOf(exchange)}`));
}

/**
 * What stays the same within a conversation: what the client calls its session, salted for its tenant, else who asks and
 * how the conversation began.
 */
function sessionOf({ session, claims, call, bytes }: Exchange): string {
  if (session !== null) return session;
  const body = JSON.parse(new TextDecoder().decode(bytes)) as JsonObject;
  const who = `${claims.tenantRef}\n${claims.keyId}\n${call.endUser ?? ""}`;
  return `${who}\n${opening(body).slice(0, OPENING_CHARS)}`;
}

const OPENING_CHARS = 2_048;

/** Up to the first thing that the user said: what a conversation's later requests begin with, too. */
function opening(body: JsonObject): string {
  const said = body.messages ?? body.input ?? body.prompt ?? body.query ?? "";
  const frame = canonical(body.system ?? body.instructions ?? null);
  if (!Array.isArray(said)) return `${frame}${String(said).slice(0, 512)}`;
  const firstUser = said.findIndex((message) => isJsonObject(message) && message.role === "user");
  return `${frame}${canonical(said.slice(0, firstUser + 1 || 1))}`;
}
