import { z } from "@hono/zod-openapi";
import { errorSchema } from "./schemas.ts";

/** What routes of the admin API have in common. */

const VERSION = /^"\d{1,15}"$/;
const NOT_A_VERSION = 'If-Match takes one version in quotes, as in "7"';

export const expected = z.object({
  "if-match": z.string().regex(VERSION, NOT_A_VERSION).describe("The version that was read, in quotes."),
});
export const maybeExpected = z.object({ "if-match": expected.shape["if-match"].optional() });

export const id = z.string().min(1).max(256);
export const one = z.object({ id });
export const oneKey = z.object({ id, keyId: id });

export const error = { default: answer(errorSchema, "An error.") };
export const removed = { 204: { description: "Done." }, ...error };

export function answer<T extends z.ZodType>(schema: T, description: string) {
  return { description, content: { "application/json": { schema } } };
}

export function body<T extends z.ZodType>(schema: T) {
  return { required: true, content: { "application/json": { schema } } };
}
