#!/bin/sh
# Starts a fine-tuning job from LLaMA-Factory's YAML as it stands; prints the job.
#   sh examples/train_yaml.sh [RECIPE.yaml]
. "$(dirname "$0")/common.sh"
ask POST /v1/fine_tuning/jobs -H 'Content-Type: application/yaml' \
  --data-binary "@${1:-$here/data/train_sample.yaml}"
echo
