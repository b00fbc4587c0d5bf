import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { canonicalRequest, encoded, signed } from "../../../src/gate/discovery-sigv4.ts";

const NOW_MS = Date.UTC(2026, 10, 23, 4, 5, 6);
const SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const FORM = { "content-type": "application/x-www-form-urlencoded; charset=utf-8" };
const FILTERS = "Filter.1.Name=tag%3Ameridian%3Areplica-of&Filter.1.Value.1=fra-1";

/** Signatures that botocore 1.43.11, AWS's own library for Python, makes of the same requests at the same time. */
const VECTORS = [
  {
    what: "EC2, a form",
    request: ["POST", "https://ec2.eu-central-1.amazonaws.com/", FORM],
    body: `Action=DescribeInstances&Version=2016-11-15&${FILTERS}`,
    scope: { service: "ec2", region: "eu-central-1" },
    token: null,
    names: "content-type;host;x-amz-date",
    signature: "1b588b34c1bff2f65a16c49a89747bddaf2925cd5a3fd88be0bede327d281016",
  },
  {
    what: "a role's token",
    request: ["POST", "https://autoscaling.us-east-1.amazonaws.com/", FORM],
    body: "Action=DescribeAutoScalingInstances",
    scope: { service: "autoscaling", region: "us-east-1" },
    token: "FwoGZXIvYXdzEXAMPLE//token==",
    names: "content-type;host;x-amz-date;x-amz-security-token",
    signature: "3b65b1f82f29885e52de8fee8265b090fe3e721ec467b0ac5f5a6f37a3529abb",
  },
  {
    what: "a query out of order, headers with spaces and capitals",
    request: [
      "GET",
      "https://ec2.us-west-2.amazonaws.com/?b=2&a=1&a=0&c%20d=e%2Bf&z=~-._",
      { "x-two": "  a   b ", "X-One": "1" },
    ],
    body: "",
    scope: { service: "ec2", region: "us-west-2" },
    token: null,
    names: "host;x-amz-date;x-one;x-two",
    signature: "334fb962981aef32f51779f06feecb50ccf1bf8d767bd0df5dfc56617a8727a3",
  },
  {
    what: "a path that is encoded already",
    request: ["GET", "https://ec2.us-west-2.amazonaws.com/a%20b/c", {}],
    body: "",
    scope: { service: "ec2", region: "us-west-2" },
    token: null,
    names: "host;x-amz-date",
    signature: "310e2f58b60113c068d8eb32989c2b9585dfa25bd99b47e747a56fd690c727ae",
  },
  {
    what: "a port, a body beyond ASCII",
    request: ["POST", "http://127.0.0.1:8123/", {}],
    body: "übergröße ✓",
    scope: { service: "ec2", region: "us-west-2" },
    token: null,
    names: "host;x-amz-date",
    signature: "5afc9b5207c946d79c3570eaf3e28615ace17490eb64c9384e3a5ddbeeaa3b1c",
  },
] as const;

describe("signatures that AWS's own library makes", () => {
  test.each(VECTORS)("$what", ({ request: [method, url, headers], body, scope, token, names, signature }) => {
    const credentials = { accessKeyId: "AKIDEXAMPLE", secretAccessKey: SECRET, sessionToken: token };
    const sent = signed(
      { method, url: new URL(url), headers: { ...headers }, body },
      scope,
      credentials,
      NOW_MS,
    );
    expect(sent["x-amz-date"]).toBe("20261123T040506Z");
    const place = `20261123/${scope.region}/${scope.service}/aws4_request`;
    expect(sent.authorization).toBe(
      `AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/${place}, SignedHeaders=${names}, Signature=${signature}`,
    );
  });

  test("the secret is in no header", () => {
    const credentials = { accessKeyId: "AKIDEXAMPLE", secretAccessKey: SECRET, sessionToken: "token" };
    const request = {
      method: "POST",
      url: new URL("https://ec2.eu-west-1.amazonaws.com/"),
      headers: {},
      body: "",
    };
    const sent = signed(request, { service: "ec2", region: "eu-west-1" }, credentials, NOW_MS);
    expect(JSON.stringify(sent)).not.toContain(SECRET);
  });
});

/** The rule as the guide words it, byte by byte: written apart from the code that it judges. */
function encodedByBytes(text: string): string {
  return [...Buffer.from(text)]
    .map((byte) => {
      const char = String.fromCharCode(byte);
      return /[A-Za-z0-9\-._~]/.test(char) ? char : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
    })
    .join("");
}

const words = fc.string({
  unit: fc.constantFrom("a", "Z", "0", " ", "+", "=", "&", "/", "*", "'", "~", "%", "é", "✓"),
});
const request = fc.record({
  method: fc.constantFrom("GET", "POST"),
  query: fc.array(fc.tuple(words, words), { maxLength: 6 }),
  headers: fc.uniqueArray(
    fc.tuple(fc.stringMatching(/^[xX]-[a-zA-Z-]{1,8}$/), fc.stringMatching(/^[ a-z0-9]{0,12}$/)),
    {
      maxLength: 5,
      selector: ([name]) => name.toLowerCase(),
    },
  ),
  body: fc.string({ unit: "grapheme" }),
});

describe("the canonical request", () => {
  test("encodes as the guide says, for any text", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (text) => {
        expect(encoded(text)).toBe(encodedByBytes(text));
      }),
    );
  });

  test("is the one that the guide describes, for any query, headers and body", () => {
    fc.assert(
      fc.property(request, ({ method, query, headers, body }) => {
        const url = new URL("https://ec2.eu-west-1.amazonaws.com/");
        for (const [name, value] of query) url.searchParams.append(name, value);
        const { text, names } = canonicalRequest({ method, url, headers: Object.fromEntries(headers), body });
        const pairs = query.map(([name, value]) => `${encodedByBytes(name)}=${encodedByBytes(value)}`);
        const lower = new Map(headers.map(([name, value]) => [name.toLowerCase(), value]));
        const order = [...lower.keys()].sort();
        const expected = [
          method,
          "/",
          byNameThenValue(pairs).join("&"),
          ...order.map((name) => `${name}:${lower.get(name)!.split(" ").filter(Boolean).join(" ")}`),
          "",
          order.join(";"),
          createHash("sha256").update(Buffer.from(body, "utf8")).digest("hex"),
        ];
        expect(text).toBe(expected.join("\n"));
        expect(names).toBe(order.join(";"));
      }),
    );
  });

  test("does not depend on the order in which anything was said", () => {
    fc.assert(
      fc.property(request, fc.nat(), ({ method, query, headers, body }, turn) => {
        const turned = <T>(list: T[]) => [
          ...list.slice(turn % (list.length + 1)),
          ...list.slice(0, turn % (list.length + 1)),
        ];
        const at = (pairs: [string, string][], named: [string, string][]) => {
          const url = new URL("https://ec2.eu-west-1.amazonaws.com/");
          for (const [name, value] of pairs) url.searchParams.append(name, value);
          return canonicalRequest({ method, url, headers: Object.fromEntries(named), body });
        };
        expect(at(turned(query), turned(headers))).toEqual(at(query, headers));
      }),
    );
  });
});

/** "=" sorts after most of what a name may hold, so pairs are not compared as one text. */
function byNameThenValue(pairs: readonly string[]): string[] {
  const key = (pair: string) => pair.split("=") as [string, string];
  return [...pairs].sort((a, b) => {
    const [[nameA, valueA], [nameB, valueB]] = [key(a), key(b)];
    return (
      Buffer.compare(Buffer.from(nameA), Buffer.from(nameB)) ||
      Buffer.compare(Buffer.from(valueA), Buffer.from(valueB))
    );
  });
}
