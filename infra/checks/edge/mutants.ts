// biome-ignore-all lint/suspicious/noTemplateCurlyInString: Terraform writes its references like that.
import type { Mutant } from "../check.ts";

/** Planted mistakes, each with the check that must see it. */

type Planted = Omit<Mutant, "file" | "caughtBy">;

const planted = (file: string, caughtBy: string, list: readonly Planted[]): Mutant[] =>
  list.map((one) => ({ ...one, file: `infra/edge/${file}`, caughtBy: `infra/edge${caughtBy}` }));

const TUNNELS: readonly Mutant[] = [
  ...planted("tunnels.tf", ": plan tests", [
    { name: "a path that fits anywhere", from: '"^/v1/"', to: '"/v1/"', because: /anchored at the start/ },
    { name: "every path to the gate", from: '"^/v1/"', to: '"^/"', because: /under \/v1\/ alone/ },
    {
      name: "all else to the gate too",
      from: 'service = "http_status:404"',
      to: 'service = "http://127.0.0.1:9001"',
      because: /All else ends in 404/,
    },
    {
      name: "a region behind another's tunnel",
      from: 'content = "${cloudflare_zero_trust_tunnel_cloudflared.region[each.key].id}',
      to: 'content = "${cloudflare_zero_trust_tunnel_cloudflared.region[keys(local.regions)[0]].id}',
      because: /own region's tunnel/,
    },
    {
      name: "past the proxy",
      from: "proxied = true",
      to: "proxied = false",
      because: /through the proxy alone/,
    },
    {
      name: "an ingress kept on the node",
      from: 'config_src = "cloudflare"',
      to: 'config_src = "local"',
      because: /takes its ingress from Cloudflare/,
    },
    {
      name: "a connector that keeps idle connections longer than the gate",
      from: "keep_alive_timeout     = 90",
      to: "keep_alive_timeout     = 120",
      because: /before the gate does/,
    },
  ]),
  ...planted("tunnels.tf", ": nested keys", [
    {
      name: "a typo in the path's key",
      from: 'path     = "^/v1/"',
      to: 'pth      = "^/v1/"',
      because: /pth is unknown/,
    },
    {
      name: "a typo two levels down",
      from: "connect_timeout = 5",
      to: "conect_timeout  = 5",
      because: /conect_timeout is unknown/,
    },
  ]),
  ...planted("tunnels.tf", ": validate", [
    {
      name: "a typo at the top",
      from: 'comment = "Meridian',
      to: 'coment  = "Meridian',
      because: /Unsupported argument/,
    },
    {
      name: "an ingress of no tunnel",
      from: "  tunnel_id  = cloudflare_zero_trust_tunnel_cloudflared.region[each.key].id\n\n  config",
      to: "\n  config",
      because: /"tunnel_id" is required/,
    },
  ]),
  ...planted("tunnels.tf", ": tunnel tokens", [
    {
      name: "the token read into the state",
      from: 'resource "cloudflare_dns_record" "gate" {',
      to: 'data "cloudflare_zero_trust_tunnel_cloudflared_token" "t" {\n  account_id = "a"\n  tunnel_id  = "b"\n}\n\nresource "cloudflare_dns_record" "gate" {',
      because: /puts the tunnel's token into the state/,
    },
    {
      name: "the tunnel's secret in the state",
      from: 'config_src = "cloudflare"',
      to: 'config_src = "cloudflare"\n  tunnel_secret = "c2VjcmV0"',
      because: /puts the tunnel's secret into the state/,
    },
  ]),
];

const ACCESS: readonly Mutant[] = [
  ...planted("access.tf", ": plan tests", [
    {
      name: "a misspelt decision",
      from: '"non_identity"',
      to: '"non-identity"',
      because: /asks for no identity/,
    },
    {
      name: "an admin API without Access",
      from: '    { type = "public", uri = "${var.hostname}/admin" },\n',
      to: "",
      because: /behind Access/,
    },
    {
      name: "a cookie that scripts can read",
      from: "http_only_cookie_attribute = true",
      to: "http_only_cookie_attribute = false",
      because: /out of reach for scripts/,
    },
  ]),
  ...planted("access.tf", ": access", [
    {
      name: "everyone let in",
      from: "    { service_token = {",
      to: "    { everyone = {} },\n    { service_token = {",
      because: /lets in whoever comes/,
    },
    {
      name: "any token of the account",
      from: "{ service_token = { token_id = cloudflare_zero_trust_access_service_token.deploy.id } }",
      to: "{ any_valid_service_token = {} }",
      because: /lets in whoever comes/,
    },
    { name: "Access switched off", from: '"non_identity"', to: '"bypass"', because: /switches Access off/ },
  ]),
  ...planted("access.tf", ": nested keys", [
    {
      name: "a typo in a local",
      from: "{ email = email }",
      to: "{ mail = email }",
      because: /mail is unknown/,
    },
    {
      name: "a typo in a policy's place",
      from: "precedence = 2",
      to: "precedense = 2",
      because: /precedense is unknown/,
    },
  ]),
  ...planted("outputs.tf", ": secret outputs", [
    {
      name: "a secret that terraform shows",
      from: "  sensitive   = true\n",
      to: "",
      because: /not marked as sensitive/,
    },
  ]),
  ...planted("outputs.tf", ": plan tests", [
    {
      name: "another contract",
      from: "worker_name = ",
      to: "worker      = ",
      because: /contract with npm run deploy/,
    },
  ]),
];

const OPTIONS: readonly Mutant[] = [
  ...planted("waf.tf", ": options tests", [
    {
      name: "a misspelt phase",
      from: '"http_ratelimit"',
      to: '"http_rate_limit"',
      because: /in its own phase/,
    },
    {
      name: "a firewall that turns Workers away",
      from: "cf.worker.upstream_zone ne",
      to: "cf.worker.upstream_zone eq",
      because: /Every gate's name is covered/,
    },
  ]),
  ...planted("waf.tf", ": nested keys", [
    {
      name: "a typo in a rate limit",
      from: "mitigation_timeout ",
      to: "mitigation_timeot ",
      because: /mitigation_timeot/,
    },
    {
      name: "a typo in a firewall rule",
      from: "expression  = ",
      to: "expresion   = ",
      because: /expresion is unknown/,
    },
  ]),
  ...planted("main.tf", ": paths", [
    {
      name: "reports of gates refused",
      from: ', "/gate/v1/report"]',
      to: "]",
      because: /route \/gate\/v1\/report/,
    },
  ]),
  ...planted("main.tf", ": storage", [
    {
      name: "a namespace that a slip destroys",
      from: "prevent_destroy = true",
      to: "prevent_destroy = false",
      because: /by a slip/,
    },
  ]),
  ...planted("main.tf", ": options tests", [
    {
      name: "two owners of the domain",
      from: 'var.custom_domain_owner == "terraform" ? 1 : 0',
      to: 'var.custom_domain_owner == "terraform" ? 0 : 1',
      because: /custom_domain\.api/,
    },
  ]),
  ...planted("variables.tf", ": validation tests", [
    {
      name: "gates too deep for the certificate",
      from: '"^[a-z0-9]([a-z0-9-]*[a-z0-9])?\\\\.${replace(',
      to: '"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?\\\\.${replace(',
      because: /a_gate_too_deep_for_the_certificate/,
    },
    {
      name: "keys in a log's address",
      from: "(region|sse)=[a-zA-Z0-9-]+(&",
      to: ".*(&",
      because: /a_log_with_a_key_in_it/,
    },
  ]),
  ...planted("variables.tf", ": variables", [
    { name: "a variable of any type", from: "  type        = number\n", to: "", because: /has no type/ },
  ]),
  ...planted("redis/main.tf", "/redis: plan tests", [
    {
      name: "a database in the clear",
      from: "tls = true",
      to: "tls = false",
      because: /Encrypted on its way/,
    },
  ]),
  ...planted("redis/main.tf", ": storage", [
    {
      name: "a database that a slip destroys",
      from: "prevent_destroy = true",
      to: "prevent_destroy = false",
      because: /by a slip/,
    },
  ]),
  ...planted("redis/variables.tf", ": variables", [
    {
      name: "a key in saved plans",
      from: "  ephemeral   = true\n",
      to: "",
      because: /would be in saved plans/,
    },
  ]),
];

export const EDGE_MUTANTS: readonly Mutant[] = [...TUNNELS, ...ACCESS, ...OPTIONS];
