/** A small client of the admin API, for bringing a local stack into the state of its plan. */
export class AdminClient {
  readonly #baseUrl: string;
  readonly #adminKey: string;

  constructor(baseUrl: string, adminKey: string) {
    this.#baseUrl = baseUrl;
    this.#adminKey = adminKey;
  }

  async call(
    method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE",
    path: string,
    body?: unknown,
    version?: string,
  ): Promise<{ status: number; body: unknown; version: string | null }> {
    const response = await fetch(`${this.#baseUrl}/admin/v1/${path}`, {
      method,
      headers: {
        authorization: `Bearer ${this.#adminKey}`,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...(version === undefined ? {} : { "if-match": version }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(15_000),
    });
    const text = await response.text();
    return {
      status: response.status,
      body: text === "" ? null : JSON.parse(text),
      version: response.headers.get("etag"),
    };
  }

  /** Makes a resource be as `wanted`: creates it, or changes it when it is there. */
  async ensure(
    collection: string,
    wanted: { readonly id: string } & Record<string, unknown>,
  ): Promise<unknown> {
    const path = `${collection}/${encodeURIComponent(wanted.id)}`;
    const known = await this.call("GET", path);
    if (known.status === 404) return this.#must(201, "POST", collection, wanted);
    const { id: _, ...change } = wanted;
    return this.#must(200, "PATCH", path, change, known.version ?? undefined);
  }

  async must(
    status: number,
    method: "GET" | "POST" | "DELETE",
    path: string,
    body?: unknown,
  ): Promise<unknown> {
    return this.#must(status, method, path, body);
  }

  async #must(
    status: number,
    method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE",
    path: string,
    body?: unknown,
    version?: string,
  ): Promise<unknown> {
    const answer = await this.call(method, path, body, version);
    if (answer.status !== status) {
      throw new Error(
        `admin API: ${method} ${path} answered ${answer.status}: ${JSON.stringify(answer.body)}`,
      );
    }
    return answer.body;
  }
}
