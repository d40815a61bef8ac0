#!/bin/sh
# Stores a data set under a name that recipes can use. Alpaca or sharegpt JSON, or OpenAI JSONL.
#   sh examples/upload_dataset.sh [FILE] [NAME]
. "$(dirname "$0")/common.sh"
data=${1:-$here/data/finance_sample.json}
needs "$data"
ask POST "/v1/datasets?name=$(encoded "${2:-finance_sample}")" --data-binary "@$data"
echo
