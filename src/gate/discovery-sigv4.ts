import { createHash, createHmac } from "node:crypto";

/** What signs a request to AWS. `sessionToken` is there for credentials of a role. */
export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string | null;
}

export interface SignedRequest {
  readonly method: string;
  readonly url: URL;
  /** Without host and those that signing adds. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface Scope {
  readonly service: string;
  readonly region: string;
}

/**
 * The headers of a request with AWS's Signature Version 4 ("Create a signed AWS API request" in the IAM user guide).
 * `host` is signed and not returned: every client sets it by itself.
 */
export function signed(
  request: SignedRequest,
  scope: Scope,
  credentials: Credentials,
  nowMs: number,
): Record<string, string> {
  const at = new Date(nowMs).toISOString().replace(/[-:]|\.\d{3}/g, "");
  const { accessKeyId, secretAccessKey, sessionToken } = credentials;
  const headers: Record<string, string> = {
    ...request.headers,
    "x-amz-date": at,
    ...(sessionToken === null ? {} : { "x-amz-security-token": sessionToken }),
  };
  const { text, names } = canonicalRequest({ ...request, headers: { ...headers, host: request.url.host } });
  const place = `${at.slice(0, 8)}/${scope.region}/${scope.service}/aws4_request`;
  const toSign = `AWS4-HMAC-SHA256\n${at}\n${place}\n${sha256(text)}`;
  const key = place.split("/").reduce<Buffer | string>(hmac, `AWS4${secretAccessKey}`);
  const signature = hmac(key, toSign).toString("hex");
  return {
    ...headers,
    authorization: `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${place}, SignedHeaders=${names}, Signature=${signature}`,
  };
}

/**
 * What is hashed of a request, and the names of its headers. Paths are encoded once more than they are sent, as every
 * service but S3 wants it; dots in them are not resolved, since no service that is asked here has any.
 */
export function canonicalRequest({ method, url, headers, body }: SignedRequest): {
  text: string;
  names: string;
} {
  const listed = Object.entries(headers)
    .map(([name, value]): [string, string] => [name.toLowerCase(), value.trim().replace(/ +/g, " ")])
    .sort(([a], [b]) => byBytes(a, b));
  const names = listed.map(([name]) => name).join(";");
  const query = [...url.searchParams]
    .map(([name, value]): [string, string] => [encoded(name), encoded(value)])
    .sort(([a, x], [b, y]) => byBytes(a, b) || byBytes(x, y))
    .map((pair) => pair.join("="))
    .join("&");
  const path = url.pathname.split("/").map(encoded).join("/");
  const lines = listed.map(([name, value]) => `${name}:${value}\n`).join("");
  return { text: [method, path, query, lines, names, sha256(body)].join("\n"), names };
}

/** RFC 3986: only letters, digits and -._~ stay. encodeURIComponent leaves five more. */
export function encoded(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

/** All of it is ASCII by then, where code units are bytes; `localeCompare` would order it otherwise. */
function byBytes(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function hmac(key: Buffer | string, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
