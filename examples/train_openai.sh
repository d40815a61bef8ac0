#!/bin/sh
# The same in OpenAI's words: upload JSONL, create a job on its file; prints the job.
#   sh examples/train_openai.sh [FILE.jsonl] [MODEL]
. "$(dirname "$0")/common.sh"
file=$(ask POST /v1/files -F purpose=fine-tune -F "file=@${1:-$here/data/finance_sample.jsonl}" | first id)
ask POST /v1/fine_tuning/jobs -H 'Content-Type: application/json' -d '{
  "model": "'"${2:-bullion-tiny}"'",
  "training_file": "'"$file"'",
  "suffix": "sample",
  "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 1}}}
}'
echo
