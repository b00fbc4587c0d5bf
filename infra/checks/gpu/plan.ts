/** What a plan must never contain, whoever added it. Reads Terraform's plan as JSON; every resource is looked at. */

export interface PlannedResource {
  readonly address: string;
  readonly mode: string;
  readonly type: string;
  readonly after: Readonly<Record<string, unknown>>;
}

interface PlanJson {
  readonly resource_changes?: readonly {
    readonly address: string;
    readonly mode: string;
    readonly type: string;
    readonly change: { readonly after: Readonly<Record<string, unknown>> | null };
  }[];
}

export function plannedResources(plan: unknown): PlannedResource[] {
  return ((plan as PlanJson).resource_changes ?? []).map(({ address, mode, type, change }) => {
    return { address, mode, type, after: change.after ?? {} };
  });
}

/** Everything wrong in a plan, one line each. */
export function planFindings(resources: readonly PlannedResource[]): string[] {
  return resources
    .filter(({ mode }) => mode === "managed")
    .flatMap((resource) =>
      RULES.flatMap((rule) => rule(resource).map((what) => `${resource.address}: ${what}`)),
    );
}

type Rule = (resource: PlannedResource) => readonly string[];

const ANYWHERE = ["0.0.0.0/0", "::/0"];

const noIngressFromOutside: Rule = ({ type, after }) => {
  const isRule =
    type === "aws_vpc_security_group_ingress_rule" ||
    (type === "aws_security_group_rule" && after.type === "ingress");
  const inline = type === "aws_security_group" ? blocks(after.ingress) : [];
  const rules = isRule ? [after] : inline;
  return rules
    .filter((rule) => addresses(rule).some((range) => ANYWHERE.includes(range) || !isPrivate(range)))
    .map(() => "ingress: opened to the internet");
};

function addresses(rule: Readonly<Record<string, unknown>>): string[] {
  return [rule.cidr_ipv4, rule.cidr_ipv6, rule.cidr_blocks, rule.ipv6_cidr_blocks]
    .flat()
    .filter((range): range is string => typeof range === "string");
}

function isPrivate(range: string): boolean {
  return /^(10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.)/.test(range);
}

const noPublicAddress: Rule = ({ type, after }) => {
  if (type === "aws_launch_template") {
    const open = blocks(after.network_interfaces).some(
      ({ associate_public_ip_address: open }) => String(open) !== "false",
    );
    return open || blocks(after.network_interfaces).length === 0 ? ["public address: not switched off"] : [];
  }
  return after.map_public_ip_on_launch === true ? ["public address: subnet hands them out"] : [];
};

const imds: Rule = ({ type, after }) => {
  if (type !== "aws_launch_template" && type !== "aws_instance") return [];
  const [options] = blocks(after.metadata_options);
  const tokens = options?.http_tokens === "required" ? [] : ["imds: version 1 is allowed"];
  return options?.http_put_response_hop_limit === 1
    ? tokens
    : [...tokens, "imds: containers reach the node's role"];
};

const noKeyPair: Rule = ({ type, after }) =>
  (type === "aws_launch_template" || type === "aws_instance") &&
  typeof after.key_name === "string" &&
  after.key_name !== ""
    ? ["ssh: a key pair; sessions go through SSM"]
    : [];

const encryptedDisks: Rule = ({ type, after }) =>
  type === "aws_launch_template" &&
  !blocks(after.block_device_mappings).every((mapping) =>
    blocks(mapping.ebs).every(
      (disk) => String(disk.encrypted) === "true" && typeof disk.kms_key_id === "string",
    ),
  )
    ? ["disk: not encrypted with the pool's key"]
    : [];

const keptLogs: Rule = ({ type, after }) =>
  type === "aws_cloudwatch_log_group" &&
  (typeof after.kms_key_id !== "string" || !(Number(after.retention_in_days) > 0))
    ? ["log: without key or without an end"]
    : [];

/** Both kinds: what never serves is thrown away, and what leaves may drain. */
const hooks: Rule = ({ type, after }) => {
  if (type !== "aws_autoscaling_group") return [];
  const found = blocks(after.initial_lifecycle_hook).map(({ lifecycle_transition: name }) => name);
  return ["EC2_INSTANCE_LAUNCHING", "EC2_INSTANCE_TERMINATING"]
    .filter((name) => !found.includes(`autoscaling:${name}`))
    .map((name) => `hook: none for ${name}`);
};

/** Spellings that only AWS itself would refuse, in the middle of an apply. */
const ENUMERATIONS: Readonly<Record<string, readonly string[]>> = {
  "aws_autoscaling_group.mixed_instances_policy.instances_distribution.spot_allocation_strategy": [
    "price-capacity-optimized",
    "capacity-optimized",
    "capacity-optimized-prioritized",
    "lowest-price",
  ],
  "aws_autoscaling_group.mixed_instances_policy.instances_distribution.on_demand_allocation_strategy": [
    "prioritized",
    "lowest-price",
  ],
  "aws_autoscaling_group.termination_policies": ["OldestLaunchTemplate", "Default"],
  "aws_autoscaling_group.enabled_metrics": [
    "GroupDesiredCapacity",
    "GroupInServiceInstances",
    "GroupTerminatingInstances",
  ],
  "aws_autoscaling_group.initial_lifecycle_hook.lifecycle_transition": [
    "autoscaling:EC2_INSTANCE_LAUNCHING",
    "autoscaling:EC2_INSTANCE_TERMINATING",
  ],
  "aws_launch_template.block_device_mappings.ebs.volume_type": ["gp3"],
  "aws_sns_topic_subscription.protocol": ["email"],
};

const spelling: Rule = ({ type, after }) =>
  Object.entries(ENUMERATIONS)
    .filter(([path]) => path.startsWith(`${type}.`))
    .flatMap(([path, known]) =>
      valuesAt(after, path.split(".").slice(1))
        .filter((value) => typeof value === "string" && !known.includes(value))
        .map((value) => `enumeration: ${path.slice(type.length + 1)} is ${value}`),
    );

function valuesAt(value: unknown, path: readonly string[]): unknown[] {
  if (Array.isArray(value)) return value.flatMap((item) => valuesAt(item, path));
  const [head, ...rest] = path;
  if (head === undefined) return [value];
  return typeof value === "object" && value !== null
    ? valuesAt((value as Record<string, unknown>)[head], rest)
    : [];
}

/** Actions that know no resources, so that "*" is the only one possible. */
const RESOURCELESS = /^(ssmmessages:\w+|ssm:UpdateInstanceInformation|ecr:GetAuthorizationToken)$/;
const READ_ONLY = /^(ec2:DescribeInstances|autoscaling:DescribeAutoScalingInstances)$/;

const policies: Rule = ({ type, after }) => {
  const text = type === "aws_iam_role_policy" || type === "aws_iam_policy" ? after.policy : undefined;
  if (type === "aws_iam_role_policy_attachment") return ["policy: ready-made policies allow too much"];
  if (type === "aws_iam_role_policy" && typeof text !== "string") return ["policy: unknown at plan, unread"];
  return typeof text === "string" ? policyFindings(text) : [];
};

interface Statement {
  readonly Sid?: string;
  readonly Effect: string;
  readonly Action?: string | string[];
  readonly Resource?: string | string[];
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

/** What a role's policy allows beyond named actions on named resources. */
export function policyFindings(json: string): string[] {
  const { Statement: statements } = JSON.parse(json) as { Statement: Statement | Statement[] };
  return [statements]
    .flat()
    .filter(({ Effect }) => Effect === "Allow")
    .flatMap((statement) => {
      const actions = [statement.Action ?? "*"].flat();
      const wild = actions
        .filter((action) => action.includes("*"))
        .map((action) => `policy: action ${action}`);
      const everywhere = [statement.Resource ?? "*"].flat().some((resource) => /^\*|:\*$/.test(resource));
      const logStreams = [statement.Resource ?? "*"]
        .flat()
        .every((resource) => resource.startsWith("arn:aws:logs:"));
      const loose = actions.filter(
        (action) =>
          !RESOURCELESS.test(action) &&
          !READ_ONLY.test(action) &&
          !(action === "cloudwatch:PutMetricData" && hasNamespace(statement)),
      );
      return everywhere && !logStreams && loose.length > 0
        ? [...wild, `policy: "*" as the resource of ${loose.join(", ")}`]
        : wild;
    });
}

function hasNamespace({ Condition: condition }: Statement): boolean {
  return condition?.StringEquals?.["cloudwatch:namespace"] !== undefined;
}

function blocks(value: unknown): Readonly<Record<string, unknown>>[] {
  return Array.isArray(value)
    ? value.filter((item): item is Record<string, unknown> => typeof item === "object" && item !== null)
    : [];
}

const RULES: readonly Rule[] = [
  noIngressFromOutside,
  noPublicAddress,
  imds,
  noKeyPair,
  encryptedDisks,
  keptLogs,
  hooks,
  spelling,
  policies,
];
