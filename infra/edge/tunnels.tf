# One tunnel per region: Cloudflare sends a request to the nearest connector of a tunnel, whichever that is, so a shared
# one would answer in a region that nobody chose. Both gates of a region connect to it.
#
# Neither `tunnel_secret` nor the data source of the token is used: both would put what opens the tunnel into the state.
# Cloudflare makes the secret; `npm run deploy` carries the token from its API into the region's parameter.
resource "cloudflare_zero_trust_tunnel_cloudflared" "region" {
  for_each = local.regions

  account_id = var.account_id
  config_src = "cloudflare"
  name       = "meridian-${each.key}"
}

resource "cloudflare_zero_trust_tunnel_cloudflared_config" "region" {
  for_each = local.regions

  account_id = var.account_id
  source     = "cloudflare"
  tunnel_id  = cloudflare_zero_trust_tunnel_cloudflared.region[each.key].id

  config = {
    # The first rule that fits is taken. `path` is a regular expression and would otherwise fit anywhere in the path.
    ingress = [
      {
        hostname = each.value.gate_hostname
        path     = "^/v1/"
        service  = "http://127.0.0.1:${var.gate_port}"
        origin_request = {
          connect_timeout = 5
          # Below the 100 s for which a gate keeps an idle connection: the side that sends must be the one to close it.
          keep_alive_connections = 1024
          keep_alive_timeout     = 90
        }
      },
      {
        service = "http_status:404"
      },
    ]
  }
}

resource "cloudflare_dns_record" "gate" {
  for_each = local.regions

  comment = "Meridian's gates in ${each.key}, through their tunnel"
  content = "${cloudflare_zero_trust_tunnel_cloudflared.region[each.key].id}.cfargotunnel.com"
  name    = each.value.gate_hostname
  proxied = true
  # 1 is "automatic", the only one that a proxied record takes.
  ttl     = 1
  type    = "CNAME"
  zone_id = var.zone_id
}
