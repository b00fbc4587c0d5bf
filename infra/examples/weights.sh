#!/usr/bin/env bash
# weights.sh FOLDER BUCKET PREFIX: writes FOLDER/SHA256SUMS over all files of FOLDER, copies all to s3://BUCKET/PREFIX,
# and prints the checksum that terraform.tfvars must say as manifest_sha256.
set -euo pipefail

folder=$1 bucket=$2 prefix=$3
(
  cd "$folder"
  # shellcheck disable=SC2094 # find leaves it out
  find . -type f ! -name SHA256SUMS -printf '%P\0' | sort -z | xargs -0 sha256sum >SHA256SUMS
)
aws s3 sync --only-show-errors "$folder" "s3://$bucket/$prefix"
printf 'manifest_sha256 = "%s"\n' "$(sha256sum "$folder/SHA256SUMS" | cut -d' ' -f1)"
printf 'size_gib        = %s\n' "$(($(du -sb "$folder" | cut -f1) / 1073741824 + 1))"
