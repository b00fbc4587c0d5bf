import { z } from "zod";

/** Bands of a pool's queue, the most urgent first. A key says which of them its requests may claim. */
export const BANDS = ["interactive", "default", "batch"] as const;
export type Band = (typeof BANDS)[number];

export const bandSchema = z.enum(BANDS).meta({ id: "Band" });

/** What a key may claim, and what its requests get that claim nothing. */
export interface KeyBands {
  readonly most: Band;
  readonly usual: Band;
}

/** Of a key that says nothing: its requests stand in the middle, and may step back. */
export const DEFAULT_BANDS: KeyBands = { most: "default", usual: "default" };

/** The less urgent of two. */
export function lessUrgent(one: Band, other: Band): Band {
  return BANDS[Math.max(BANDS.indexOf(one), BANDS.indexOf(other))]!;
}

/** What a key's settings come to; its usual band is never above the most urgent that it may claim. */
export function keyBands(settings: {
  readonly priority?: Band | undefined;
  readonly defaultPriority?: Band | undefined;
}): KeyBands {
  const most = settings.priority ?? DEFAULT_BANDS.most;
  return { most, usual: lessUrgent(most, settings.defaultPriority ?? DEFAULT_BANDS.usual) };
}

/** The band of a request that asks for `asked`: as urgent as it asks for, as far as its key allows. */
export function bandOf(asked: Band | null, { most, usual }: KeyBands): Band {
  return asked === null ? usual : lessUrgent(asked, most);
}
