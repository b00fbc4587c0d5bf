/** Two clocks: one that edge and gate share, and one that never jumps, for measuring. */
export interface Clock {
  epochMs(): number;
  monotonicMs(): number;
}

export const systemClock: Clock = {
  epochMs: () => Date.now(),
  monotonicMs: () => performance.now(),
};
