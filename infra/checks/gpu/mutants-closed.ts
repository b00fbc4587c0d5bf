import type { Mutant } from "../check.ts";
import { mutant } from "./mutant.ts";

/** What opens a pool: addresses, disks, roles. */
const M = "infra/gpu-origin";
const POLICY = "gpu:plan-policies";

const SSH = `resource "aws_vpc_security_group_ingress_rule" "ssh" {
  security_group_id = aws_security_group.gate.id
  description       = "SSH"
  cidr_ipv4         = "0.0.0.0/0"
  from_port         = 22
  to_port           = 22
  ip_protocol       = "tcp"
}

# cloudflared prefers`;

const ATTACHMENT = `resource "aws_iam_role_policy_attachment" "sessions" {
  role       = aws_iam_role.node["gate"].name
  policy_arn = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
}

resource "aws_iam_instance_profile"`;

const CLOSED: readonly Mutant[] = [
  mutant(
    "vLLM open to the internet",
    `${M}/security.tf`,
    "referenced_security_group_id = aws_security_group.gate.id",
    'cidr_ipv4 = "0.0.0.0/0"',
    POLICY,
    /ingress: opened/,
  ),
  mutant(
    "SSH from anywhere",
    `${M}/security.tf`,
    "# cloudflared prefers",
    SSH,
    POLICY,
    /ssh: ingress: opened/,
  ),
  mutant(
    "public address",
    `${M}/replicas.tf`,
    "associate_public_ip_address = false",
    "associate_public_ip_address = true",
    POLICY,
    /public address/,
  ),
  mutant(
    "public address by omission",
    `${M}/gates.tf`,
    "associate_public_ip_address = false",
    "",
    POLICY,
    /public address/,
  ),
  mutant(
    "subnet hands out addresses",
    `${M}/network/main.tf`,
    "map_public_ip_on_launch = false",
    "map_public_ip_on_launch = true",
    POLICY,
    /public address: subnet/,
  ),
  mutant(
    "IMDSv1",
    `${M}/gates.tf`,
    'http_tokens                 = "required"',
    'http_tokens = "optional"',
    POLICY,
    /imds: version 1/,
  ),
  mutant(
    "containers reach the role",
    `${M}/replicas.tf`,
    "http_put_response_hop_limit = 1",
    "http_put_response_hop_limit = 2",
    POLICY,
    /imds: containers/,
  ),
  mutant(
    "key pair",
    `${M}/replicas.tf`,
    "= local.replica_ami\n",
    '= local.replica_ami\n  key_name = "operator"\n',
    POLICY,
    /ssh: a key pair/,
  ),
  mutant(
    "unencrypted disk",
    `${M}/replicas.tf`,
    "encrypted             = true",
    "encrypted             = false",
    POLICY,
    /disk: not encrypted/,
  ),
  mutant(
    "disk without the pool's key",
    `${M}/gates.tf`,
    "kms_key_id            = module.artifacts.kms_key_arn",
    "",
    POLICY,
    /disk: not encrypted/,
  ),
  mutant(
    "log without an end",
    `${M}/main.tf`,
    "retention_in_days = var.log_retention_days\n\n",
    "retention_in_days = 0\n\n",
    POLICY,
    /log: without/,
  ),
];

const POLICIES: readonly Mutant[] = [
  mutant(
    "'*' as an action",
    `${M}/iam.tf`,
    '["ssm:GetParameter"]',
    '["ssm:*"]',
    POLICY,
    /policy: action ssm:\*/,
  ),
  mutant(
    "'*' as a resource",
    `${M}/iam.tf`,
    "resources = local.parameter_arns",
    'resources = ["*"]',
    POLICY,
    /"\*" as the resource of ssm:GetParameter/,
  ),
  mutant(
    "decrypts with any key",
    `${M}/iam.tf`,
    "concat([module.artifacts.kms_key_arn], var.parameter_key_arns)",
    '["*"]',
    POLICY,
    /"\*" as the resource of kms:Decrypt/,
  ),
  mutant(
    "metrics of anybody",
    `${M}/iam.tf`,
    'variable = "cloudwatch:namespace"',
    'variable = "aws:RequestedRegion"',
    POLICY,
    /resource of cloudwatch:PutMetricData/,
  ),
  mutant(
    "ready-made policy",
    `${M}/iam.tf`,
    'resource "aws_iam_instance_profile"',
    ATTACHMENT,
    POLICY,
    /ready-made/,
  ),
  mutant(
    "replicas read secrets",
    `${M}/iam.tf`,
    'actions   = ["ecr:GetAuthorizationToken"]\n    resources = ["*"]',
    'actions   = ["ssm:GetParameter"]\n    resources = local.parameter_arns',
    POLICY,
    /replicas read no parameter/,
  ),
];

export const CLOSED_MUTANTS: readonly Mutant[] = [...CLOSED, ...POLICIES];
