import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { signed } from "../../../src/gate/discovery-sigv4.ts";

export interface Machine {
  readonly id: string;
  readonly address: string;
  readonly tags: Readonly<Record<string, string>>;
  /** Of EC2: pending, running, shutting-down, … */
  readonly state: string;
  /** Of its scaling group; null: it is in none. */
  readonly lifecycle: string | null;
}

type Reply = readonly [status: number, body: string];

/** What the role's credentials are; they change with each renewal. */
export interface Role {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly token: string;
  readonly expiration: string;
}

/**
 * EC2, Auto Scaling and a machine's metadata service, as far as a gate asks them, on one port. Requests whose signature is
 * wrong are refused, as are metadata requests without a session token (IMDSv2).
 */
export class FakeCloud {
  machines: Machine[] = [];
  role: Role = {
    accessKeyId: "ASIAROLE",
    secretAccessKey: "role-secret",
    token: "role-token",
    expiration: "",
  };
  /** Action or "metadata" → what it answers instead. */
  readonly failing = new Map<string, { status: number; body: string }>();
  /** Actions in the order in which they came; a metadata request by its method and path. */
  readonly asked: string[] = [];
  pageSize = 100;
  readonly #server: Server;

  private constructor() {
    this.#server = createServer(async (request, response) => {
      let text = "";
      for await (const chunk of request) text += String(chunk);
      const [status, body] = this.#answer(request, text);
      response.writeHead(status, { "content-type": "text/xml" });
      response.end(body);
    });
  }

  static async start(): Promise<FakeCloud> {
    const cloud = new FakeCloud();
    await new Promise<void>((resolve) => cloud.#server.listen(0, "127.0.0.1", resolve));
    return cloud;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** For a gate that asks this cloud and no other. */
  get env(): Record<string, string> {
    return {
      AWS_ENDPOINT_URL_EC2: this.url,
      AWS_ENDPOINT_URL_AUTO_SCALING: this.url,
      AWS_EC2_METADATA_SERVICE_ENDPOINT: this.url,
    };
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  #answer(request: IncomingMessage, text: string): Reply {
    const path = request.url ?? "";
    const form = Object.fromEntries(new URLSearchParams(text));
    const isMetadata = path.startsWith("/latest/");
    this.asked.push(isMetadata ? `${request.method} ${path}` : (form.Action ?? "?"));
    const failing = this.failing.get(isMetadata ? "metadata" : (form.Action ?? "?"));
    if (failing) return [failing.status, failing.body];
    if (isMetadata) return this.#metadata(request, path);
    if (!this.#isSigned(request, text)) return [403, refusal("SignatureDoesNotMatch")];
    if (form.Action === "DescribeInstances") return [200, this.#instances(form)];
    if (form.Action === "DescribeAutoScalingInstances") return [200, this.#lifecycles(form)];
    return [400, refusal("InvalidAction")];
  }

  #metadata({ method, headers }: IncomingMessage, path: string): Reply {
    if (method === "PUT" && path === "/latest/api/token" && headers["x-aws-ec2-metadata-token-ttl-seconds"]) {
      return [200, "metadata-session"];
    }
    if (headers["x-aws-ec2-metadata-token"] !== "metadata-session") return [401, ""];
    const folder = "/latest/meta-data/iam/security-credentials/";
    if (path === folder) return [200, "gate-role"];
    if (path !== `${folder}gate-role`) return [404, ""];
    const { accessKeyId, secretAccessKey, token, expiration } = this.role;
    const told = {
      AccessKeyId: accessKeyId,
      SecretAccessKey: secretAccessKey,
      Token: token,
      Expiration: expiration,
    };
    return [200, JSON.stringify({ Code: "Success", Type: "AWS-HMAC", ...told })];
  }

  #isSigned({ headers }: IncomingMessage, body: string): boolean {
    const authorization = headers.authorization ?? "";
    const [, region, service] = /Credential=[^/]+\/\d{8}\/([^/]+)\/([^/]+)\//.exec(authorization) ?? [];
    const at = String(headers["x-amz-date"]);
    const nowMs = Date.parse(at.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, "$1-$2-$3T$4:$5:$6Z"));
    const { accessKeyId, secretAccessKey, token } = this.role;
    const again = signed(
      {
        method: "POST",
        url: new URL(`http://${headers.host}/`),
        headers: { "content-type": String(headers["content-type"]) },
        body,
      },
      { service: service ?? "", region: region ?? "" },
      { accessKeyId, secretAccessKey, sessionToken: token },
      nowMs,
    );
    return again.authorization === authorization && headers["x-amz-security-token"] === token;
  }

  #instances(form: Record<string, string>): string {
    const tag = (form["Filter.1.Name"] ?? "").replace(/^tag:/, "");
    const fitting = this.machines.filter(
      ({ tags, state }) => tags[tag] === form["Filter.1.Value.1"] && state === form["Filter.2.Value.1"],
    );
    const from = Number(form.NextToken ?? 0);
    const shown = fitting.slice(from, from + this.pageSize);
    const next =
      from + this.pageSize < fitting.length ? `<nextToken>${from + this.pageSize}</nextToken>` : "";
    const items = shown.map(
      ({ id, address, state }) =>
        `<item><reservationId>r-${id}</reservationId><instancesSet><item><instanceId>${id}</instanceId>` +
        `<instanceState><code>16</code><name>${state}</name></instanceState>` +
        `<privateIpAddress>${address}</privateIpAddress><reason/><tagSet><item><key>a&amp;b</key><value>&lt;</value></item>` +
        `</tagSet></item></instancesSet></item>`,
    );
    return `<?xml version="1.0" encoding="UTF-8"?>\n<DescribeInstancesResponse xmlns="urn:ec2"><requestId>1</requestId>
      <reservationSet>${items.join("\n")}</reservationSet>${next}</DescribeInstancesResponse>`;
  }

  #lifecycles(form: Record<string, string>): string {
    const ids = Object.keys(form).filter((name) => name.startsWith("InstanceIds.member."));
    const wanted = new Set(ids.map((name) => form[name]));
    if (ids.length > 50) return refusal("ValidationError");
    const members = this.machines
      .filter(({ id, lifecycle }) => wanted.has(id) && lifecycle !== null)
      .map(
        ({ id, lifecycle }) =>
          `<member><LifecycleState>${lifecycle}</LifecycleState><InstanceId>${id}</InstanceId></member>`,
      );
    return `<DescribeAutoScalingInstancesResponse><DescribeAutoScalingInstancesResult><AutoScalingInstances>
      ${members.join("")}</AutoScalingInstances></DescribeAutoScalingInstancesResult></DescribeAutoScalingInstancesResponse>`;
  }
}

export function refusal(code: string): string {
  return `<Response><Errors><Error><Code>${code}</Code><Message>You are not allowed</Message></Error></Errors></Response>`;
}
