#!/bin/sh
# Merges an adapter into its base, verifies the result, and waits for it; prints the export.
#   sh examples/merge.sh [RECIPE.yaml]
. "$(dirname "$0")/common.sh"
export=$(ask POST /v1/exports -H 'Content-Type: application/yaml' \
  --data-binary "@${1:-$here/data/merge_sample.yaml}" | first id)
wait_for "/v1/exports/$export"
ask GET "/v1/exports/$export"
echo
