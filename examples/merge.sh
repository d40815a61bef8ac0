#!/bin/sh
# Merges an adapter into its base, verifies the result, and waits for it; prints the export.
#   sh examples/merge.sh [RECIPE.yaml]      without RECIPE: the sample, trained first where it is not
. "$(dirname "$0")/common.sh"
recipe=${1:-$here/data/merge_sample.yaml}
needs "$recipe"
if [ $# -eq 0 ] && ! exists /v1/models/saves/sample; then
  job=$(sh "$here/train_yaml.sh" | first id)
  echo "training first: $job" >&2
  wait_for "/v1/fine_tuning/jobs/$job"
fi
export=$(ask POST /v1/exports -H 'Content-Type: application/yaml' \
  --data-binary "@$recipe" | first id)
wait_for "/v1/exports/$export"
ask GET "/v1/exports/$export"
echo
