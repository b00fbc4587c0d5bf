import { Reach } from "../routing/reach.ts";

/** What this isolate could not reach. */
export const REACH = new Reach();
