#!/usr/bin/env bash
# fetch-weights.sh PREFIX SHA256 TARGET: copies s3://$BUCKET/PREFIX to TARGET and proves every byte.
# PREFIX holds SHA256SUMS (as `sha256sum` writes it), whose own checksum Terraform pins. TARGET appears complete or not
# at all; a second call with the same pin does nothing.
# shellcheck source-path=SCRIPTDIR source=../shared/lib.sh
. /opt/meridian/bin/lib.sh

prefix=$1 sha256=$2 target=$3
partial=$target.partial

[ "$(cat "$target/.pinned" 2>/dev/null || true)" != "$sha256" ] || {
  say "weights $prefix are here"
  exit 0
}

mkdir -p "$partial"
fetch_pinned "$prefix/SHA256SUMS" "$sha256" "$partial/SHA256SUMS"

download() {
  aws s3 sync --only-show-errors "s3://$BUCKET/$prefix" "$partial" --exclude SHA256SUMS
}

# Names of files that are missing or not what the manifest says.
wrong() {
  (
    cd "$partial"
    sha256sum --check --strict --quiet SHA256SUMS 2>/dev/null || true
  ) | sed -n 's/^\(.*\): FAILED.*$/\1/p'
}

download
bad=$(wrong)
if [ -n "$bad" ]; then
  say "weights-corrupt, once more: $bad"
  while read -r file; do rm -f "$partial/$file"; done <<<"$bad"
  download
  bad=$(wrong)
  [ -z "$bad" ] || die "weights-corrupt: $bad"
fi
# Whatever the reason, an exit status of 0 is the only proof.
(cd "$partial" && sha256sum --check --strict --quiet SHA256SUMS) || die "weights-corrupt: manifest"

# What the manifest does not name is not loaded.
(cd "$partial" && find . -type f ! -name SHA256SUMS -printf '%P\n') | while read -r file; do
  cut -d' ' -f3- "$partial/SHA256SUMS" | grep -qxF -e "$file" -e "./$file" || rm -f "$partial/$file"
done

printf '%s' "$sha256" >"$partial/.pinned"
rm -rf "$target"
mkdir -p "$(dirname "$target")"
mv "$partial" "$target"
say "weights $prefix are complete"
