# Cost allocation tags must be switched on once per account (billing console); until then this budget sees nothing.
resource "aws_budgets_budget" "pool" {
  count = var.budget == null ? 0 : 1

  name         = local.name
  budget_type  = "COST"
  limit_amount = tostring(var.budget.limit_usd)
  limit_unit   = "USD"
  time_unit    = "MONTHLY"

  cost_filter {
    name   = "TagKeyValue"
    values = ["user:meridian:pool$${var.pool_id}"]
  }

  dynamic "notification" {
    for_each = { warning = { type = "ACTUAL", percent = 80 }, spent = { type = "ACTUAL", percent = 100 }, forecast = { type = "FORECASTED", percent = 100 } }

    content {
      comparison_operator        = "GREATER_THAN"
      notification_type          = notification.value.type
      threshold                  = notification.value.percent
      threshold_type             = "PERCENTAGE"
      subscriber_email_addresses = var.budget.emails
    }
  }
}
