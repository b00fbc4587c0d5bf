/**
 * On every answer of a gate: milliseconds from the request's arrival to its status, so that the edge can tell the way
 * from the work. For the edge only; clients get headers by an allow-list.
 */
export const GATE_TIME_HEADER = "x-meridian-gate-ms";
