/** Faults that tests switch on over `POST /_sim/faults`: parsing, matching, counting down. */

type Kind = "number" | "boolean";
/** Parameters by name; a trailing `?` marks an optional one. */
type Shape = Readonly<Record<string, Kind>>;

/** Every fault with its parameters. README.md explains them; keep both in step. */
export const FAULT_SHAPES = {
  refuse: { "ms?": "number" },
  slowHeaders: { ms: "number" },
  status: { code: "number", "retryAfterS?": "number" },
  stall: { afterTokens: "number" },
  cut: { afterTokens: "number", "insideEvent?": "boolean" },
  endWithoutDone: { afterTokens: "number" },
  noUsage: {},
  garbage: { afterTokens: "number" },
  engineError: { afterTokens: "number" },
  die: { "afterTokens?": "number" },
  restart: { "ms?": "number" },
  slow: { factor: "number" },
  report: {
    "kvCacheUsage?": "number",
    "gpuMemoryUsedPct?": "number",
    "waiting?": "number",
    "running?": "number",
  },
  drain: {},
  freeze: {},
  unhealthy: {},
  hangOnShutdown: {},
} as const satisfies Record<string, Shape>;

export type FaultName = keyof typeof FAULT_SHAPES;
export type FaultParameters = {
  readonly ms?: number;
  readonly code?: number;
  readonly retryAfterS?: number;
  readonly afterTokens?: number;
  readonly insideEvent?: boolean;
  readonly factor?: number;
  readonly kvCacheUsage?: number;
  readonly gpuMemoryUsedPct?: number;
  readonly waiting?: number;
  readonly running?: number;
  /** How many more times the fault strikes; absent: until cleared. */
  readonly count?: number;
  /** Only requests whose body contains this text. */
  readonly match?: string;
};
export type FaultSet = Readonly<Partial<Record<FaultName, FaultParameters>>>;

/** Reads a control body. Throws with a message that lists the faults where it cannot be understood. */
export function parseFaults(text: string): FaultSet {
  let body: unknown;
  try {
    body = JSON.parse(text === "" ? "{}" : text);
  } catch {
    throw new Error("the body is not JSON");
  }
  if (!isRecord(body)) throw new Error("the body must be an object of faults");
  for (const [name, parameters] of Object.entries(body)) {
    if (!Object.hasOwn(FAULT_SHAPES, name)) throw new Error(`unknown fault "${name}"`);
    if (!isRecord(parameters)) throw new Error(`"${name}" must be an object of parameters`);
    checkParameters(name as FaultName, parameters);
  }
  return body as FaultSet;
}

function checkParameters(name: FaultName, parameters: Record<string, unknown>): void {
  const shape: Shape = { ...FAULT_SHAPES[name], "count?": "number" };
  for (const [key, value] of Object.entries(parameters)) {
    if (key === "match" && typeof value === "string") continue;
    const kind = shape[key] ?? shape[`${key}?`];
    const valid = kind === "number" ? typeof value === "number" && value >= 0 : typeof value === kind;
    if (!valid) throw new Error(`"${name}" cannot take ${key} = ${JSON.stringify(value)}`);
  }
  for (const key of Object.keys(shape)) {
    if (!key.endsWith("?") && !(key in parameters)) throw new Error(`"${name}" needs ${key}`);
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The faults in force. */
export class FaultBoard {
  #faults: Partial<Record<FaultName, FaultParameters>> = {};

  get active(): FaultSet {
    return this.#faults;
  }

  set(faults: FaultSet): void {
    this.#faults = { ...faults };
  }

  clear(name: FaultName): void {
    delete this.#faults[name];
  }

  peek(name: FaultName): FaultParameters | undefined {
    return this.#faults[name];
  }

  /** Applies a fault to a request with this body: undefined where it does not strike. Counts down. */
  take(name: FaultName, body: string): FaultParameters | undefined {
    const fault = this.#faults[name];
    if (fault === undefined || (fault.match !== undefined && !body.includes(fault.match))) return undefined;
    if (fault.count === undefined) return fault;
    if (fault.count <= 1) delete this.#faults[name];
    else this.#faults[name] = { ...fault, count: fault.count - 1 };
    return fault.count >= 1 ? fault : undefined;
  }
}

/** What will go wrong with one answer. */
export type AnswerFaults = {
  readonly stall: FaultParameters | undefined;
  readonly cut: FaultParameters | undefined;
  readonly endWithoutDone: FaultParameters | undefined;
  readonly garbage: FaultParameters | undefined;
  readonly engineError: FaultParameters | undefined;
  readonly die: FaultParameters | undefined;
  readonly noUsage: boolean;
  /** Slows the whole engine while this answer runs. */
  readonly slow: FaultParameters | undefined;
};

/** Takes the faults of one answer off the board. */
export function takeAnswerFaults(board: FaultBoard, body: string): AnswerFaults {
  return {
    // A freeze of single requests is a stall; of the whole engine it is the loop's affair.
    stall: board.take("stall", body) ?? (takeLimited(board, "freeze", body) && { afterTokens: 0 }),
    cut: board.take("cut", body),
    endWithoutDone: board.take("endWithoutDone", body),
    garbage: board.take("garbage", body),
    engineError: board.take("engineError", body),
    die: board.take("die", body),
    noUsage: board.take("noUsage", body) !== undefined,
    slow: takeLimited(board, "slow", body),
  };
}

/** Takes a fault only where it is limited to some requests. */
export function takeLimited(board: FaultBoard, name: FaultName, body: string): FaultParameters | undefined {
  const fault = board.peek(name);
  return fault?.count === undefined && fault?.match === undefined ? undefined : board.take(name, body);
}

export type Strike = "stall" | "cut" | "endWithoutDone" | "garbage" | "engineError" | "die";
const STRIKES: readonly Strike[] = ["die", "cut", "stall", "engineError", "endWithoutDone", "garbage"];

/** The fault, if any, that strikes before the next event of an answer that has sent `tokens` tokens. */
export function strikeAt(faults: AnswerFaults, tokens: number): Strike | undefined {
  return STRIKES.find((name) => {
    const fault = faults[name];
    return fault !== undefined && tokens >= (fault.afterTokens ?? 0);
  });
}
