import { WEIGHT_WHOLE } from "../../bounds.ts";
import type { Model } from "../../catalogue.ts";
import type { Failure } from "../../errors.ts";

/** What must hold between models, of which one schema sees only one. */

/** What is wrong with these models together, or null. */
export function wrongModels(models: readonly Model[]): Failure | null {
  const byId = new Map(models.map((model) => [model.id, model]));
  for (const model of models) {
    const wrong = wrongSmaller(model, byId) ?? wrongRevision(model, byId, models);
    if (wrong !== null) return wrong;
  }
  return null;
}

/** A ladder of ladders must end, and each answer must be of the kind that was asked for. */
function wrongSmaller(model: Model, byId: ReadonlyMap<string, Model>): Failure | null {
  const wrong = (detail: string): Failure => {
    return { tag: "invalid_field", param: "degrade.smallerModel", detail };
  };
  const seen = new Set([model.id]);
  for (let at = model; at.degrade?.smallerModel !== undefined; ) {
    const { smallerModel } = at.degrade;
    const smaller = byId.get(smallerModel);
    if (smaller === undefined) return wrong(`There is no model '${smallerModel}'.`);
    if (smaller.kind !== model.kind) return wrong(`'${smallerModel}' is of another kind.`);
    if (smaller.revision !== undefined)
      return wrong(`'${smallerModel}' is a revision, not a model of its own.`);
    if (seen.has(smaller.id)) return wrong(`'${smallerModel}' leads back to '${model.id}'.`);
    seen.add(smaller.id);
    at = smaller;
  }
  return null;
}

function wrongRevision(
  model: Model,
  byId: ReadonlyMap<string, Model>,
  models: readonly Model[],
): Failure | null {
  if (model.revision === undefined) return null;
  const wrong = (param: string, detail: string): Failure => {
    return { tag: "invalid_field", param: `revision.${param}`, detail };
  };
  const { of } = model.revision;
  const base = byId.get(of);
  if (base === undefined) return wrong("of", `There is no model '${of}'.`);
  if (base === model || base.revision !== undefined) return wrong("of", "A revision has no revisions.");
  if (base.kind !== model.kind) return wrong("of", `'${of}' is of another kind.`);
  const siblings = models.filter(({ revision }) => revision?.of === of);
  const served = ({ servedName, id }: Model) => servedName ?? id;
  // Gates count by the engine's name: under one name nobody could tell whose errors they are.
  if ([base, ...siblings].some((other) => other.id !== model.id && served(other) === served(model))) {
    return wrong("of", `Engines must serve every revision of '${of}' under a name of its own (servedName).`);
  }
  const weight = siblings.reduce((sum, { revision }) => sum + revision!.weight, 0);
  if (weight <= WEIGHT_WHOLE) return null;
  return wrong("weight", `The revisions of '${of}' would get ${weight} of ${WEIGHT_WHOLE}.`);
}
