import { z } from "zod";
import { LIMIT_MAX } from "../bounds.ts";

/** Names and numbers that several of the managed things have. */

/** Location hints of Durable Objects, in the order of their one-digit codes inside API keys. Only append. */
export const LOCATION_HINTS = [
  "wnam",
  "enam",
  "sam",
  "weur",
  "eeur",
  "apac",
  "apac-ne",
  "apac-se",
  "oc",
  "afr",
  "me",
] as const;
export type LocationHint = (typeof LOCATION_HINTS)[number];

const slug = (what: string) =>
  z
    .string()
    .regex(
      /^[a-z0-9][a-z0-9-]{0,62}$/,
      `${what}: 1 to 63 of a-z, 0-9 and '-', starting with a letter or digit`,
    );

export const tenantIdSchema = slug("tenant id");
export const poolIdSchema = slug("pool id");
export const regionNameSchema = slug("region");
export const limit = z.number().int().min(1).max(LIMIT_MAX);
