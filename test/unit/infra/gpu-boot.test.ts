import { describe, expect, it } from "vitest";
import { type Manifest, manifestFindings } from "../../../infra/checks/gpu/manifests.ts";
import { filesOf } from "../../../infra/checks/gpu/render.ts";
import { type Case, differences } from "../../../infra/checks/gpu/sandbox.ts";
import { secretsInState, secretsInUserData } from "../../../infra/checks/gpu/secrets.ts";
import { unsetSettings } from "../../../infra/checks/gpu/user-data.ts";

describe("secretsInUserData", () => {
  const found = (path: string, content: string) => secretsInUserData(content, [{ path, content }]).join();

  it.each([
    ["settings.env", "GATE_SECRET='x'", /setting GATE_SECRET/],
    ["settings.env", "A='AKIAABCDEFGHIJKLMNOP'", /access key/],
    ["gate.json", '{"secrets":{"1":"0123456789abcdef"}}', /version to secret/],
    ["a.service", "Environment=TUNNEL_TOKEN=x", /unit's environment/],
    ["a.service", "ExecStart=cloudflared run --token x", /argument/],
    ["a.sh", "set -eux", /prints/],
    ["a.sh", "aws ssm get-parameter --name x --with-decryption", /not kept/],
  ])("finds in %s: %s", (path, content, line) => expect(found(path, content)).toMatch(line));

  it("passes names of parameters and files of tokens", () => {
    expect(found("settings.env", "GATE_SECRET_PARAMETER='/a/b'")).toBe("");
    expect(found("a.service", "ExecStart=cloudflared run --token-file %d/token")).toBe("");
    expect(found("a.sh", "# set -x would print secrets")).toBe("");
  });
});

describe("secretsInState", () => {
  it("finds what would enter the state", () => {
    const read = 'data "aws_ssm_parameter" "token" {\n  name = var.token_parameter\n}\n';
    expect(secretsInState("a.tf", read)).toHaveLength(1);
    expect(secretsInState("a.tf", 'variable "tunnel_token" {\n}\n')).toHaveLength(1);
    expect(secretsInState("a.tf", 'resource "aws_iam_access_key" "a" {\n}\n')).toHaveLength(1);
  });

  it("passes public parameters and names", () => {
    const ami = 'data "aws_ssm_parameter" "ami" {\n  name = "/aws/service/ami"\n}\n';
    expect(secretsInState("a.tf", `${ami}variable "tunnel_token_parameter" {\n}\n`)).toEqual([]);
  });
});

describe("unsetSettings", () => {
  it("finds what scripts read and nobody sets", () => {
    const script = ["$BUCKET", "${" + "GPUS}", "$SECONDS", "$lower"].join(" ");
    expect(unsetSettings(script, ["BUCKET"])).toEqual(["GPUS"]);
    expect(unsetSettings("if ((try < TRIES_MAX)); then", [])).toEqual(["TRIES_MAX"]);
  });
});

describe("filesOf", () => {
  it("refuses a document that cloud-init would ignore", () => {
    expect(() => filesOf('{"write_files":[]}')).toThrow(/#cloud-config/);
    expect(filesOf('#cloud-config\n{"write_files":[]}\n')).toEqual([]);
  });
});

describe("differences", () => {
  const one: Case = {
    ...{ name: "n", role: "gate", world: {}, run: "", status: 0 },
    ...{ prints: [/one/, /two/], calls: [/stop a/, /stop b/], never: [/kill/] },
  };

  it("passes what is as expected", () => {
    expect(differences(one, { status: 0, output: "one two", calls: "stop a\nstop b\n" })).toEqual([]);
  });

  it.each([
    [{ status: 1, output: "one two", calls: "stop a\nstop b\n" }, /ended with 1/],
    [{ status: 0, output: "two one", calls: "stop a\nstop b\n" }, /did not print/],
    [{ status: 0, output: "one two", calls: "stop b\nstop a\n" }, /did not call/],
    [{ status: 0, output: "one two", calls: "stop a\nstop b\nkill\n" }, /called \/kill\//],
  ])("finds %j", (seen, line) => expect(differences(one, seen).join()).toMatch(line));
});

describe("manifestFindings", () => {
  const container = {
    name: "vllm",
    image: `registry.example.com/vllm@sha256:${"0".repeat(64)}`,
    args: ["--shutdown-timeout=900", "--tensor-parallel-size=1"],
    resources: { limits: { memory: "1Gi", "nvidia.com/gpu": "1" } },
    securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } },
  };
  const pod = {
    containers: [container],
    terminationGracePeriodSeconds: 960,
    securityContext: { runAsNonRoot: true },
  };
  const stateful = (spec: object = {}, change: object = {}): Manifest => {
    const template = {
      metadata: { labels: { app: "vllm" } },
      spec: { ...pod, containers: [{ ...container, ...change }], ...spec },
    };
    return {
      kind: "StatefulSet",
      metadata: { name: "vllm" },
      spec: { selector: { matchLabels: { app: "vllm" } } as never, template },
    };
  };
  const text = (...manifests: Manifest[]) => manifestFindings(manifests).join("\n");

  it.each([
    [stateful({}, { image: "vllm:latest" }), /not pinned/],
    [stateful({ hostNetwork: true }), /node's network/],
    [stateful({ terminationGracePeriodSeconds: 30 }), /before it has drained for 900/],
    [stateful({ securityContext: {} }), /may run as root/],
    [stateful({}, { args: ["--tensor-parallel-size=1"] }), /streams are cut/],
    [
      stateful({}, { args: ["--shutdown-timeout=9", "--tensor-parallel-size=4"] }),
      /1 GPUs for a tensor parallelism of 4/,
    ],
    [stateful({}, { env: [{ name: "API_TOKEN", value: "x" }] }), /secret in the manifest/],
    [stateful({}, { securityContext: {} }), /gain rights/],
  ])("finds in a workload (%#)", (manifest, line) => expect(text(manifest)).toMatch(line));

  it("finds a Secret, an open Service and an open policy", () => {
    expect(text({ kind: "Secret", metadata: { name: "s" } })).toMatch(/out of band/);
    expect(text({ kind: "Service", metadata: { name: "s" }, spec: { type: "NodePort" } })).toMatch(
      /opens a port/,
    );
    const open = { kind: "NetworkPolicy", metadata: { name: "p" }, spec: { ingress: [{ from: [{}] }] } };
    expect(text(open)).toMatch(/lets anybody in/);
    expect(text()).toMatch(/no policy denies by default/);
  });

  it("has nothing to say about a good workload itself", () => {
    expect(text(stateful())).not.toMatch(/StatefulSet/);
  });
});
