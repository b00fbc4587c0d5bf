output "gate_subnet_ids" {
  description = "Two subnets in two zones."
  value       = [for zone in slice(var.zones, 0, 2) : aws_subnet.gate[zone].id]
}

output "replica_subnet_ids" {
  description = "One subnet in each zone."
  value       = [for zone in var.zones : aws_subnet.replica[zone].id]
}

output "vpc_id" {
  description = "The network."
  value       = aws_vpc.main.id
}
