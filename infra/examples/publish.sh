#!/usr/bin/env bash
# publish.sh BUCKET NAME=FILE …: puts programs into a pool's bucket as programs/<first 12 digits of the checksum>-NAME,
# and prints what terraform.tfvars must say. A new version is a new object, so a rollback finds the old one.
set -euo pipefail

bucket=$1
shift
for pair in "$@"; do
  name=${pair%%=*} file=${pair#*=}
  sha256=$(sha256sum "$file" | cut -d' ' -f1)
  key=programs/${sha256:0:12}-$name
  aws s3 cp --only-show-errors "$file" "s3://$bucket/$key"
  printf '%s: { key = "%s", sha256 = "%s" }\n' "$name" "$key" "$sha256"
done
