# Nobody outside can open a connection to anything here. cloudflared and the AWS tools go out; gates reach replicas.
# The only ingress rules of the module are the two below, both from the gates' group.

resource "aws_security_group" "gate" {
  name_prefix = "${local.name}-gate-"
  description = "Gates: nothing comes in"
  vpc_id      = local.network.vpc_id

  tags = merge(local.tags, { Name = "${local.name}-gate" })

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_security_group" "replica" {
  name_prefix = "${local.name}-replica-"
  description = "Replicas: only gates come in"
  vpc_id      = local.network.vpc_id

  tags = merge(local.tags, { Name = "${local.name}-replica" })

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "engine" {
  security_group_id            = aws_security_group.replica.id
  description                  = "vLLM, from the gates"
  referenced_security_group_id = aws_security_group.gate.id
  from_port                    = local.engine_port
  to_port                      = local.engine_port
  ip_protocol                  = "tcp"
}

resource "aws_vpc_security_group_ingress_rule" "dcgm" {
  security_group_id            = aws_security_group.replica.id
  description                  = "GPU metrics, from the gates"
  referenced_security_group_id = aws_security_group.gate.id
  from_port                    = local.dcgm_port
  to_port                      = local.dcgm_port
  ip_protocol                  = "tcp"
}

resource "aws_vpc_security_group_egress_rule" "gate_to_replica" {
  for_each = { engine = local.engine_port, dcgm = local.dcgm_port }

  security_group_id            = aws_security_group.gate.id
  description                  = "To the replicas: ${each.key}"
  referenced_security_group_id = aws_security_group.replica.id
  from_port                    = each.value
  to_port                      = each.value
  ip_protocol                  = "tcp"
}

resource "aws_vpc_security_group_egress_rule" "gate_https" {
  security_group_id = aws_security_group.gate.id
  description       = "Reports to the edge, AWS services"
  cidr_ipv4         = "0.0.0.0/0"
  from_port         = 443
  to_port           = 443
  ip_protocol       = "tcp"
}

# cloudflared prefers QUIC and falls back to TCP, both on 7844.
resource "aws_vpc_security_group_egress_rule" "gate_tunnel" {
  for_each = toset(["tcp", "udp"])

  security_group_id = aws_security_group.gate.id
  description       = "The tunnel, over ${each.key}"
  cidr_ipv4         = "0.0.0.0/0"
  from_port         = 7844
  to_port           = 7844
  ip_protocol       = each.key
}

# AWS services only know names, not fixed addresses; where replicas have private endpoints, no route leads further.
resource "aws_vpc_security_group_egress_rule" "replica_https" {
  security_group_id = aws_security_group.replica.id
  description       = "Weights, images, logs, Auto Scaling"
  cidr_ipv4         = "0.0.0.0/0"
  from_port         = 443
  to_port           = 443
  ip_protocol       = "tcp"
}
