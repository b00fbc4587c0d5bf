import { readFileSync } from "node:fs";
import { z } from "zod";
import {
  LOCATION_HINTS,
  type LocationHint,
  modelInputSchema,
  regionNameSchema,
} from "../../src/catalogue.ts";

/** What a local stack consists of. */
export interface StackPlan {
  readonly models: readonly z.input<typeof modelInputSchema>[];
  readonly regions: readonly RegionPlan[];
}

export interface RegionPlan {
  readonly name: string;
  readonly hint: LocationHint;
  readonly position: { readonly latitude: number; readonly longitude: number };
  readonly concurrencyPerReplica: number;
  /** Engines that run already; null: simulated ones are started. */
  readonly urls: readonly string[] | null;
  readonly replicas: number;
}

const PLACES: Record<string, { hint: LocationHint; latitude: number; longitude: number }> = {
  "us-east": { hint: "enam", latitude: 39.0, longitude: -77.5 },
  "us-west": { hint: "wnam", latitude: 45.6, longitude: -121.2 },
  "eu-west": { hint: "weur", latitude: 53.3, longitude: -6.3 },
  "eu-central": { hint: "weur", latitude: 50.1, longitude: 8.7 },
  "ap-southeast": { hint: "apac-se", latitude: 1.35, longitude: 103.8 },
  "ap-northeast": { hint: "apac-ne", latitude: 35.7, longitude: 139.7 },
};

/** Three regions of two simulated replicas, one model that chats and one that embeds. */
export function simulatedPlan(replicas = 2): StackPlan {
  return {
    models: [
      { id: "sim-chat", kind: "generate", contextTokens: 32_768 },
      { id: "sim-embed", kind: "embed" },
    ],
    regions: ["us-east", "eu-west", "ap-southeast"].map((name) => ({
      name,
      hint: PLACES[name]!.hint,
      position: { latitude: PLACES[name]!.latitude, longitude: PLACES[name]!.longitude },
      concurrencyPerReplica: 64,
      urls: null,
      replicas,
    })),
  };
}

const originsSchema = z.strictObject({
  models: z.array(z.union([z.string().transform((id) => ({ id })), modelInputSchema])).min(1),
  regions: z.record(
    regionNameSchema,
    z.union([
      z
        .array(z.url())
        .min(1)
        .transform((urls) => ({ urls })),
      z.strictObject({
        urls: z.array(z.url()).min(1),
        latitude: z.number().min(-90).max(90).optional(),
        longitude: z.number().min(-180).max(180).optional(),
        hint: z.enum(LOCATION_HINTS).optional(),
        concurrencyPerReplica: z.number().int().min(1).max(10_000).optional(),
      }),
    ]),
  ),
});
type Origin = {
  urls: string[];
  latitude?: number;
  longitude?: number;
  hint?: LocationHint;
  concurrencyPerReplica?: number;
};

/** A plan from a file such as `{"models":["llama"],"regions":{"us-east":["http://10.0.0.5:8000"]}}`. */
export function planFromFile(file: string): StackPlan {
  let parsed: unknown;
  try {
    parsed = JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    throw new Error(
      `${file}: cannot be read as JSON (${error instanceof SyntaxError ? "syntax" : String(error)})`,
    );
  }
  const checked = originsSchema.safeParse(parsed);
  if (!checked.success) {
    const issue = checked.error.issues[0]!;
    throw new Error(`${file}: ${issue.path.join(".") || "top level"}: ${issue.message}`);
  }
  const regions = Object.entries(checked.data.regions as Record<string, Origin>);
  if (regions.length === 0) throw new Error(`${file}: regions: name at least one`);
  return {
    models: checked.data.models,
    regions: regions.map(([name, origin]) => {
      const place = PLACES[name];
      return {
        name,
        hint: origin.hint ?? place?.hint ?? "enam",
        position: {
          latitude: origin.latitude ?? place?.latitude ?? 39,
          longitude: origin.longitude ?? place?.longitude ?? -77.5,
        },
        concurrencyPerReplica: origin.concurrencyPerReplica ?? 10,
        urls: origin.urls.map((url) => url.replace(/\/+$/, "")),
        replicas: origin.urls.length,
      };
    }),
  };
}
