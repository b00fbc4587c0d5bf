# A network without a way in. Only NAT gateways have public addresses; nothing answers on them.

locals {
  zones = { for index, zone in var.zones : zone => index }
  # Public subnets are small: they hold NAT gateways and nothing else.
  public_cidrs  = { for zone, index in local.zones : zone => cidrsubnet(var.cidr, 8, index) }
  gate_cidrs    = { for zone, index in local.zones : zone => cidrsubnet(var.cidr, 8, 16 + index) }
  replica_cidrs = { for zone, index in local.zones : zone => cidrsubnet(var.cidr, 4, 4 + index) }
  nat_zones     = var.nat_per_zone ? var.zones : slice(var.zones, 0, 1)
  # Zone → the zone whose NAT it leaves through.
  nat_of = { for zone in var.zones : zone => contains(local.nat_zones, zone) ? zone : local.nat_zones[0] }
}

resource "aws_vpc" "main" {
  cidr_block           = var.cidr
  enable_dns_hostnames = true
  enable_dns_support   = true

  tags = { Name = var.name }
}

# The default group lets its members talk to each other: emptied, so that nothing works by accident.
resource "aws_default_security_group" "main" {
  vpc_id = aws_vpc.main.id
}

resource "aws_internet_gateway" "main" {
  vpc_id = aws_vpc.main.id

  tags = { Name = var.name }
}

resource "aws_subnet" "public" {
  for_each = local.public_cidrs

  vpc_id                  = aws_vpc.main.id
  availability_zone       = each.key
  cidr_block              = each.value
  map_public_ip_on_launch = false

  tags = { Name = "${var.name}-nat-${each.key}" }
}

resource "aws_subnet" "gate" {
  for_each = local.gate_cidrs

  vpc_id                  = aws_vpc.main.id
  availability_zone       = each.key
  cidr_block              = each.value
  map_public_ip_on_launch = false

  tags = { Name = "${var.name}-gate-${each.key}" }
}

resource "aws_subnet" "replica" {
  for_each = local.replica_cidrs

  vpc_id                  = aws_vpc.main.id
  availability_zone       = each.key
  cidr_block              = each.value
  map_public_ip_on_launch = false

  tags = { Name = "${var.name}-replica-${each.key}" }
}

resource "aws_eip" "nat" {
  for_each = toset(local.nat_zones)

  domain = "vpc"

  tags = { Name = "${var.name}-nat-${each.key}" }
}

resource "aws_nat_gateway" "main" {
  for_each = toset(local.nat_zones)

  allocation_id = aws_eip.nat[each.key].id
  subnet_id     = aws_subnet.public[each.key].id

  tags = { Name = "${var.name}-${each.key}" }

  depends_on = [aws_internet_gateway.main]
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.main.id

  tags = { Name = "${var.name}-nat" }
}

resource "aws_route" "public" {
  route_table_id         = aws_route_table.public.id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.main.id
}

resource "aws_route_table_association" "public" {
  for_each = aws_subnet.public

  subnet_id      = each.value.id
  route_table_id = aws_route_table.public.id
}

resource "aws_route_table" "gate" {
  for_each = local.zones

  vpc_id = aws_vpc.main.id

  tags = { Name = "${var.name}-gate-${each.key}" }
}

resource "aws_route" "gate" {
  for_each = local.zones

  route_table_id         = aws_route_table.gate[each.key].id
  destination_cidr_block = "0.0.0.0/0"
  nat_gateway_id         = aws_nat_gateway.main[local.nat_of[each.key]].id
}

resource "aws_route_table_association" "gate" {
  for_each = aws_subnet.gate

  subnet_id      = each.value.id
  route_table_id = aws_route_table.gate[each.key].id
}

resource "aws_route_table" "replica" {
  for_each = local.zones

  vpc_id = aws_vpc.main.id

  tags = { Name = "${var.name}-replica-${each.key}" }
}

# With private endpoints replicas have no route out of the network: a stolen replica can tell nobody.
resource "aws_route" "replica" {
  for_each = var.private_endpoints ? {} : local.zones

  route_table_id         = aws_route_table.replica[each.key].id
  destination_cidr_block = "0.0.0.0/0"
  nat_gateway_id         = aws_nat_gateway.main[local.nat_of[each.key]].id
}

resource "aws_route_table_association" "replica" {
  for_each = aws_subnet.replica

  subnet_id      = each.value.id
  route_table_id = aws_route_table.replica[each.key].id
}
