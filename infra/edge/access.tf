locals {
  people = concat(
    [for email in sort(var.access.emails) : { email = { email = email }, email_domain = null }],
    [for domain in sort(var.access.email_domains) : { email = null, email_domain = { domain = domain } }],
  )
}

# Cloudflare Access in front of everything that operators use. It is the second lock: the admin API wants its own key
# behind it. A path covers what is below it.
resource "cloudflare_zero_trust_access_application" "admin" {
  account_id                 = var.account_id
  app_launcher_visible       = false
  http_only_cookie_attribute = true
  name                       = "Meridian admin (${var.hostname})"
  same_site_cookie_attribute = "strict"
  # Programs are told 401 instead of being sent to a page where a person signs in.
  service_auth_401_redirect = true
  session_duration          = var.access.session_duration
  type                      = "self_hosted"

  destinations = [
    { type = "public", uri = "${var.hostname}/admin" },
    { type = "public", uri = "${var.hostname}/console" },
  ]

  policies = concat(
    [{ id = cloudflare_zero_trust_access_policy.deploy.id, precedence = 1 }],
    [for policy in cloudflare_zero_trust_access_policy.people : { id = policy.id, precedence = 2 }],
  )
}

# A service token passes only a policy that asks for no identity.
resource "cloudflare_zero_trust_access_policy" "deploy" {
  account_id = var.account_id
  decision   = "non_identity"
  name       = "Meridian: npm run deploy"

  include = [
    { service_token = { token_id = cloudflare_zero_trust_access_service_token.deploy.id } },
  ]
}

resource "cloudflare_zero_trust_access_policy" "people" {
  count = length(local.people) > 0 ? 1 : 0

  account_id       = var.account_id
  decision         = "allow"
  name             = "Meridian: operators"
  session_duration = var.access.session_duration
  include          = local.people
}

# Its secret is in the state: the provider has no other way to hand it over. It opens Access alone, not the admin API.
resource "cloudflare_zero_trust_access_service_token" "deploy" {
  account_id                        = var.account_id
  client_secret_version             = var.service_token.version
  duration                          = var.service_token.duration
  name                              = "Meridian: npm run deploy"
  previous_client_secret_expires_at = var.service_token.previous_until

  lifecycle {
    # A new one is in the policy before the old one goes.
    create_before_destroy = true
  }
}
