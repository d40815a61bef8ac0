#!/bin/sh
# Starts a fine-tuning job from LLaMA-Factory's YAML as it stands; prints the job.
#   sh examples/train_yaml.sh [RECIPE.yaml]     without RECIPE: the sample, uploaded where it is not
. "$(dirname "$0")/common.sh"
recipe=${1:-$here/data/train_sample.yaml}
needs "$recipe"
[ $# -gt 0 ] || exists /v1/datasets/finance_sample || sh "$here/upload_dataset.sh" >&2
ask POST /v1/fine_tuning/jobs -H 'Content-Type: application/yaml' --data-binary "@$recipe"
echo
