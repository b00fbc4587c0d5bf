/** Clients that take all they are given. They know nothing of budgets but how to run into them. */

/** The nine places of the platform's own hints, as a development router lets a client name them. */
export const PLACES = [
  "NA/39/-77",
  "NA/37/-122",
  "SA/-23/-46",
  "EU/51/2",
  "EU/50/20",
  "AS/36/140",
  "OC/-34/151",
  "AF/-26/28",
  "AS/25/55",
] as const;

export interface Kind {
  readonly name: string;
  /** What the model would say if nobody stopped it. */
  readonly outputTokens: number;
  readonly body: Readonly<Record<string, unknown>>;
}

const TOOL = { type: "function", function: { name: "look", parameters: { type: "object" } } };
export const KINDS = {
  shortStream: { name: "short stream", outputTokens: 60, body: { stream: true } },
  longStream: { name: "long stream", outputTokens: 2_000, body: { stream: true } },
  shortJson: { name: "short JSON", outputTokens: 60, body: {} },
  longJson: { name: "long JSON", outputTokens: 1_500, body: {} },
  /** The engine is asked for one JSON: nobody can count before its end. */
  wholeJson: { name: "JSON with tools", outputTokens: 1_500, body: { tools: [TOOL], tool_choice: "none" } },
  choices: { name: "four choices", outputTokens: 600, body: { n: 4 } },
} as const satisfies Record<string, Kind>;

export interface Made {
  readonly kind: string;
  readonly place: string;
  readonly status: number;
  readonly budget: string | null;
  readonly mode: string | null;
  readonly atMs: number;
}

export interface Assault {
  readonly baseUrl: string;
  readonly key: string;
  readonly places: readonly string[];
  readonly kinds: readonly Kind[];
  readonly clientsPerPlace: number;
  readonly untilMs: number;
  /** Of requests, so many are left by their client at a random instant. */
  readonly leaveShare: number;
  /** Clients leave what still runs when the time is over. */
  readonly leaveAtEnd: boolean;
  readonly random: () => number;
}

/** How long a client waits after a refusal: it does not care for what it was told. */
const IMPATIENCE_MS = 250;
const LEAVE_WITHIN_MS = 3_000;

/** Runs all clients until the time is over, and waits for what still runs. */
export async function assault(plan: Assault): Promise<Made[]> {
  const made: Made[] = [];
  const client = async (place: string, index: number) => {
    while (Date.now() < plan.untilMs) {
      const kind = plan.kinds[Math.floor(plan.random() * plan.kinds.length)]!;
      const one = await request(plan, place, kind);
      made.push(one);
      if (one.status !== 200) await new Promise((resolve) => setTimeout(resolve, IMPATIENCE_MS + index * 7));
    }
  };
  await Promise.all(
    plan.places.flatMap((place) => Array.from({ length: plan.clientsPerPlace }, (_, i) => client(place, i))),
  );
  return made;
}

async function request(
  { baseUrl, key, random, leaveAtEnd, leaveShare, untilMs }: Assault,
  place: string,
  kind: Kind,
): Promise<Made> {
  const body = {
    model: "sim-chat",
    messages: [{ role: "user", content: `${random()} [len=${kind.outputTokens}]` }],
    ...(random() < 0.5 ? { max_tokens: kind.outputTokens } : {}),
    ...kind.body,
  };
  const leaving = new AbortController();
  if (random() < leaveShare) setTimeout(() => leaving.abort(), random() * LEAVE_WITHIN_MS);
  if (leaveAtEnd) setTimeout(() => leaving.abort(), Math.max(0, untilMs - Date.now())).unref();
  const common = { kind: kind.name, place, atMs: Date.now() };
  try {
    const answer = await fetch(`${baseUrl}/v1/chat/completions`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${key}`,
        "content-type": "application/json",
        "x-meridian-dev-location": place,
      },
      body: JSON.stringify(body),
      signal: leaving.signal,
    });
    const [budget, mode] = ["x-meridian-budget", "x-meridian-budget-mode"].map((h) => answer.headers.get(h));
    await answer.arrayBuffer().catch(() => undefined);
    return { ...common, status: answer.status, budget: budget!, mode: mode! };
  } catch {
    // Left, or the edge was killed.
    return { ...common, status: 0, budget: null, mode: null };
  }
}
