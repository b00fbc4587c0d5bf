# Cloudflare first writes a file into the bucket and wants to be told what is in it. That is the first apply; the file's
# text, in `ownership_challenge`, is the second.
resource "cloudflare_logpush_ownership_challenge" "main" {
  for_each = { for name, log in var.log_destinations : name => log if log.ownership_challenge == null }

  account_id       = var.account_id
  destination_conf = each.value.destination
}

resource "cloudflare_logpush_job" "main" {
  for_each = { for name, log in var.log_destinations : name => log if log.ownership_challenge != null }

  account_id          = var.account_id
  dataset             = each.value.dataset
  destination_conf    = each.value.destination
  enabled             = true
  name                = "meridian-${each.key}"
  ownership_challenge = each.value.ownership_challenge

  output_options = {
    output_type      = "ndjson"
    sample_rate      = each.value.sample_rate
    timestamp_format = "rfc3339"
  }
}
