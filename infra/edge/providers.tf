# The API token comes from CLOUDFLARE_API_TOKEN and is never a variable: a variable could end up in a saved plan.
provider "cloudflare" {}
