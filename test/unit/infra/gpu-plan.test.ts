import { describe, expect, it } from "vitest";
import { costs, costTable, type Prices } from "../../../infra/checks/gpu/cost.ts";
import { shapeOf, strangeKeys } from "../../../infra/checks/gpu/keys.ts";
import { resolved } from "../../../infra/checks/gpu/nested.ts";
import { type PlannedResource, planFindings, policyFindings } from "../../../infra/checks/gpu/plan.ts";
import { judge } from "../../../infra/checks/mutants.ts";

const resource = (type: string, after: Record<string, unknown>): PlannedResource => {
  return { address: `${type}.main`, mode: "managed", type, after };
};

const TEMPLATE = {
  metadata_options: [{ http_tokens: "required", http_put_response_hop_limit: 1 }],
  network_interfaces: [{ associate_public_ip_address: "false" }],
  block_device_mappings: [{ ebs: [{ encrypted: "true", kms_key_id: "arn", volume_type: "gp3" }] }],
};

describe("planFindings", () => {
  const found = (type: string, after: Record<string, unknown>) => planFindings([resource(type, after)]);

  it("passes a closed launch template", () => {
    expect(found("aws_launch_template", TEMPLATE)).toEqual([]);
  });

  it.each([
    ["imds", { metadata_options: [] }, /imds: version 1/],
    [
      "hops",
      { metadata_options: [{ http_tokens: "required", http_put_response_hop_limit: 2 }] },
      /containers/,
    ],
    ["no interface", { network_interfaces: [] }, /public address/],
    ["key pair", { key_name: "me" }, /key pair/],
    ["plain disk", { block_device_mappings: [{ ebs: [{ encrypted: "false", kms_key_id: "arn" }] }] }, /disk/],
    [
      "volume type",
      { block_device_mappings: [{ ebs: [{ encrypted: "true", kms_key_id: "a", volume_type: "gp4" }] }] },
      /volume_type is gp4/,
    ],
  ])("finds in a launch template: %s", (_, change, line) => {
    expect(found("aws_launch_template", { ...TEMPLATE, ...change }).join()).toMatch(line);
  });

  it.each(["0.0.0.0/0", "8.8.8.0/24"])("finds ingress from %s, in a rule and inline", (range) => {
    expect(found("aws_vpc_security_group_ingress_rule", { cidr_ipv4: range })).toHaveLength(1);
    expect(found("aws_security_group", { ingress: [{ cidr_blocks: [range] }] })).toHaveLength(1);
  });

  it("lets a private range and another group in", () => {
    expect(found("aws_vpc_security_group_ingress_rule", { cidr_ipv4: "10.40.0.0/16" })).toEqual([]);
    expect(found("aws_vpc_security_group_ingress_rule", { referenced_security_group_id: "sg-1" })).toEqual(
      [],
    );
  });

  it("wants both hooks", () => {
    const launch = { lifecycle_transition: "autoscaling:EC2_INSTANCE_LAUNCHING" };
    expect(found("aws_autoscaling_group", { initial_lifecycle_hook: [launch] })).toEqual([
      "aws_autoscaling_group.main: hook: none for EC2_INSTANCE_TERMINATING",
    ]);
  });

  it("does not pass a policy that it cannot read", () => {
    expect(found("aws_iam_role_policy", { policy: null }).join()).toMatch(/unread/);
  });
});

describe("policyFindings", () => {
  const policy = (statement: Record<string, unknown>) =>
    policyFindings(JSON.stringify({ Statement: { Effect: "Allow", ...statement } }));

  it.each([
    [{ Action: "s3:*", Resource: "arn:aws:s3:::a" }, /action s3:\*/],
    [{ Action: ["s3:GetObject"], Resource: "*" }, /resource of s3:GetObject/],
    [{ Action: "ssm:GetParameter", Resource: ["arn:aws:ssm:us-east-1:1:*"] }, /resource of ssm/],
    [{ Action: "cloudwatch:PutMetricData", Resource: "*" }, /PutMetricData/],
  ])("finds %j", (statement, line) => expect(policy(statement).join()).toMatch(line));

  it("passes what knows no resources, and named resources", () => {
    expect(policy({ Action: "ssmmessages:OpenDataChannel", Resource: "*" })).toEqual([]);
    expect(policy({ Action: "s3:GetObject", Resource: "arn:aws:s3:::bucket/models/*" })).toEqual([]);
    const namespace = { StringEquals: { "cloudwatch:namespace": "Meridian/Pool" } };
    expect(policy({ Action: "cloudwatch:PutMetricData", Resource: "*", Condition: namespace })).toEqual([]);
  });
});

describe("nested keys", () => {
  const shape = shapeOf(`object({
    # a comment with ) in it
    name = string
    size = optional(number, max(1, 2))
    list = optional(list(object({ key = string })), [])
    each = map(object({ deep = optional(object({ end = bool }), { end = true }) }))
  })`);

  it("passes what the type knows", () => {
    const value = { name: "a", size: 1, list: [{ key: "k" }], each: { any: { deep: { end: true } } } };
    expect(strangeKeys(value, shape, "v")).toEqual([]);
  });

  it("finds strange keys at every depth", () => {
    const value = { nam: 1, list: [{ kei: 1 }], each: { any: { deep: { ent: 1 } } } };
    expect(strangeKeys(value, shape, "v")).toEqual(["v.nam", "v.list.0.kei", "v.each.any.deep.ent"]);
  });

  it("follows locals to their literals", () => {
    const size = { capacity: { headrom: 1 } };
    expect(resolved("$" + "{local.size.capacity}", { size })).toEqual(size.capacity);
    expect(resolved("merge(local.size)", { size })).toBe("merge(local.size)");
  });
});

describe("costs", () => {
  const prices: Prices = {
    ...{ hoursPerMonth: 100, instanceHour: { "g6.xlarge": 2, "c7g.large": 1 }, natHour: 0.5 },
    ...{ endpointZoneHour: 0, diskGibMonth: 0.1, keyMonth: 1, alarmMonth: 0, customMetricMonth: 0 },
  };
  const at = (address: string, type: string, after: Record<string, unknown>) => {
    return { address: `module.pool.${address}`, mode: "managed", type, after };
  };
  const override = [{ launch_template: [{ override: [{ instance_type: "g6.xlarge" }] }] }];
  const disk = (size: number) => [{ ebs: [{ volume_size: size }] }];
  const group = { name: "meridian-p-replica", min_size: 1, max_size: 3, mixed_instances_policy: override };
  const plan = [
    at("aws_autoscaling_group.replica", "aws_autoscaling_group", group),
    at("aws_launch_template.replica", "aws_launch_template", { block_device_mappings: disk(100) }),
    at('aws_autoscaling_group.gate["a"]', "aws_autoscaling_group", {}),
    at('aws_launch_template.gate["a"]', "aws_launch_template", {
      instance_type: "c7g.large",
      block_device_mappings: disk(10),
    }),
    at("module.network[0].aws_nat_gateway.main", "aws_nat_gateway", {}),
  ];

  it("adds up a pool", () => {
    // A replica: 100 h × 2 + 100 GiB × 0.1 = 210. The rest: gate 100 + disk 1, NAT 50.
    const [cost] = costs(plan, prices);
    expect(cost).toMatchObject({ pool: "p", floorUsd: 210, ceilingUsd: 630, fixedUsd: 151 });
    expect(costTable([cost!])).toContain("| p | 1 to 3 × g6.xlarge | 210 to 630 | 151 | 361 to 781 |");
  });

  it("refuses a type without a price", () => {
    expect(() => costs(plan, { ...prices, instanceHour: {} })).toThrow(/no price of g6.xlarge/);
  });
});

describe("judge", () => {
  const mutant = { because: /disk/ };

  it("counts a mutant as caught only for its own reason", () => {
    expect(judge(mutant, { kind: "fail", lines: ["x", "disk: plain"] }).kind).toBe("caught");
    expect(judge(mutant, { kind: "fail", lines: ["cannot start"] }).kind).toBe("missed");
    expect(judge(mutant, { kind: "pass", detail: "" }).kind).toBe("missed");
    expect(judge(mutant, { kind: "skip", why: "no terraform" }).kind).toBe("skipped");
  });
});
