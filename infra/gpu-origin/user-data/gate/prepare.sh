#!/usr/bin/env bash
# Programs by checksum, secrets by name. Secrets go from SSM into files on tmpfs and from there, by systemd's
# credentials, to the one service that needs each.
# shellcheck source-path=SCRIPTDIR source=../shared/lib.sh
. /opt/meridian/bin/lib.sh

secrets=$state/secrets
umask 077
mkdir -p "$secrets"

parameter() {
  local value
  value=$(aws ssm get-parameter --name "$1" --with-decryption --query Parameter.Value --output text) ||
    die "parameter $1 cannot be read"
  # An empty value still ends with a newline, and a missing one reads "None": a size alone proves nothing.
  case "${value//[[:space:]]/}" in
    "" | None) die "parameter $1 is empty" ;;
  esac
  printf '%s' "$value"
}

parameter "$TUNNEL_TOKEN_PARAMETER" >"$secrets/tunnel-token.new"
[[ "$(cat "$secrets/tunnel-token.new")" =~ ^[A-Za-z0-9+/_=-]{40,}$ ]] || die "the tunnel token is not one"
mv "$secrets/tunnel-token.new" "$secrets/tunnel-token"

parameter "$GATE_SECRET_PARAMETER" >"$secrets/gate-secrets.new"
[[ "$(tr -d '[:space:]' <"$secrets/gate-secrets.new")" =~ ^\{\"[0-9]+\":\".{16,}\"\}$ ]] ||
  die "the gate's secrets are not JSON of version to secret"
mv "$secrets/gate-secrets.new" "$secrets/gate-secrets"

umask 022
while read -r name key sha256; do
  fetch_pinned "$key" "$sha256" "$base/$name"
done <"$base/programs.list"
mkdir -p "$base/node"
tar -xf "$base/node.tar" -C "$base/node" --strip-components=1
chmod 0755 "$base/cloudflared"
say "prepared"
