import type { OriginOrder } from "../contract/origin-token.ts";
import type { Usage } from "../contract/report.ts";
import type { Failure } from "../errors.ts";
import { PromptMeter } from "./content.ts";
import type { Endpoint, EndpointId, JsonObject, Prepared } from "./endpoint.ts";
import { applyOrder, engineFields } from "./order.ts";
import { endUserOf, parser } from "./parse.ts";
import type { RequestFields } from "./schema.ts";

/** The endpoints that generate nothing: one JSON in, one JSON out. */
export interface PoolingParts {
  readonly id: EndpointId;
  readonly path: string;
  readonly enginePath: string;
  readonly fields: RequestFields;
  /** Adds the prompt's cost. */
  measure(body: JsonObject, meter: PromptMeter): void;
  inconsistent?(body: JsonObject): Failure | null;
  wholeUsage(answer: JsonObject): Usage | null;
  /** False where the engine has no prefix cache to keep apart. */
  readonly salted: boolean;
}

export function poolingEndpoint(parts: PoolingParts): Endpoint {
  const { id, path, enginePath, fields } = parts;
  return {
    id,
    path,
    enginePath,
    errorShape: "openai",
    parse: parser(fields, parts.inconsistent ?? (() => null), (body) => {
      const meter = new PromptMeter();
      parts.measure(body, meter);
      return {
        endpoint: id,
        model: body.model as string,
        stream: false,
        maxOutputTokens: null,
        choices: 1,
        measure: meter.text.measure(),
        fixedTokens: meter.fixedTokens,
        generates: false,
        endUser: endUserOf(body),
      };
    }),
    prepare(body: JsonObject, order: OriginOrder): Prepared {
      const engine = applyOrder(engineFields(body, fields), order);
      if (!parts.salted) delete engine.cache_salt;
      return { mode: "whole", body: engine };
    },
    reader: () => neverStreams(id),
    aggregator: () => neverStreams(id),
    wholeUsage: parts.wholeUsage,
  };
}

function neverStreams(id: EndpointId): never {
  throw new Error(`${id} does not stream`);
}
