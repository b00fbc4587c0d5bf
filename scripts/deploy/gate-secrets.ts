import { z } from "zod";
import type { AdminCalls } from "./admin.ts";
import type { Parameters, Place } from "./parameters.ts";
import { type EdgeContract, type RegionContract, regionOf } from "./terraform.ts";
import { DeployError } from "./wrangler.ts";

/**
 * A pool's secrets on their way from the admin API, which shows each once, to the one place that its gates read:
 * `{"<version>": "<secret>"}` in the region's parameter.
 */

const secretsSchema = z.record(z.string().regex(/^\d{1,6}$/), z.string().min(16));

/** An object without a secret: a gate that reads it says what is missing and is started again. */
const NO_SECRETS = "{}";

export function placeOf(edge: EdgeContract, pool: string, gates: readonly string[]): Place {
  const region = regionOf(edge, gates)?.[1];
  if (region !== undefined) return secretPlace(region);
  throw new DeployError(`pool ${pool}: none of its gates is a tunnel of infra/edge (${gates.join(", ")})`);
}

function secretPlace({ aws_region, gate_secret_parameter, kms_key_id }: RegionContract): Place {
  return { awsRegion: aws_region, name: gate_secret_parameter, kmsKeyId: kms_key_id };
}

/** Shows, before a secret is asked for that is shown only once, that it can be put where it belongs. */
export async function mustBeWritable(parameters: Parameters, place: Place): Promise<string | null> {
  const now = await parameters.read(place);
  await parameters.write(place, now ?? NO_SECRETS);
  return now;
}

/** A new secret beside the one in use. Orders are signed with the old one until the rotation is ended. */
export async function rotateGateSecret(
  admin: AdminCalls,
  parameters: Parameters,
  edge: EdgeContract,
  pool: string,
): Promise<Place> {
  const { gates, secretVersion, rotating } = await poolOf(admin, pool);
  if (rotating)
    throw new DeployError(`pool ${pool}: a rotation is under way; end it with --end-gate-rotation ${pool}`);
  const place = placeOf(edge, pool, gates);
  const known = secretsIn(await mustBeWritable(parameters, place), place);
  const inUse = known[String(secretVersion)];
  if (inUse === undefined) {
    throw new DeployError(
      `${place.name} does not hold version ${secretVersion}, which signs now: nothing was changed`,
    );
  }
  const { status, body } = await admin.call("POST", `pools/${encodeURIComponent(pool)}/rotate-secret`);
  const made = body as { gateSecret?: string; secretVersion?: number } | null;
  if (status !== 200 || !made?.gateSecret) throw refused(pool, "rotate-secret", status);
  await parameters.write(
    place,
    JSON.stringify({ [secretVersion]: inUse, [String(made.secretVersion)]: made.gateSecret }),
  );
  return place;
}

/** From now on the newest secret signs; the one before is taken out of the parameter. */
export async function endGateRotation(
  admin: AdminCalls,
  parameters: Parameters,
  edge: EdgeContract,
  pool: string,
): Promise<Place> {
  const { gates, secretVersion } = await poolOf(admin, pool);
  const place = placeOf(edge, pool, gates);
  const newest = secretsIn(await parameters.read(place), place)[String(secretVersion)];
  if (newest === undefined) {
    throw new DeployError(
      `${place.name} does not hold version ${secretVersion}: no gate can have it; nothing was changed`,
    );
  }
  const { status } = await admin.call("POST", `pools/${encodeURIComponent(pool)}/end-rotation`);
  if (status !== 200) throw refused(pool, "end-rotation", status);
  await parameters.write(place, JSON.stringify({ [secretVersion]: newest }));
  return place;
}

interface KnownPool {
  readonly gates: readonly string[];
  readonly secretVersion: number;
  readonly rotating?: boolean;
}

async function poolOf(admin: AdminCalls, pool: string): Promise<KnownPool> {
  const { status, body } = await admin.call("GET", `pools/${encodeURIComponent(pool)}`);
  if (status !== 200) throw refused(pool, "GET", status);
  return body as KnownPool;
}

function secretsIn(text: string | null, place: Place): Record<string, string> {
  if (text === null) return {};
  try {
    return secretsSchema.parse(JSON.parse(text));
  } catch {
    // The parser's own message would quote a secret.
    throw new DeployError(`${place.awsRegion} ${place.name}: holds no JSON of version to secret`);
  }
}

function refused(pool: string, what: string, status: number): DeployError {
  return new DeployError(`pool ${pool}: ${what}: the admin API answered ${status}`);
}
