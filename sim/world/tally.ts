/** What happened, in numbers. */
export class Tally {
  admitted = 0;
  /** Of those: decided by the location's own object, or its isolate. */
  beside = 0;
  /** Of those: out of a block, by the isolate. */
  drawn = 0;
  refused = 0;
  /** Second attempts that were made at an answer. */
  raced = 0;
}
