#!/bin/sh
# A PDF report becomes question-answer pairs: a data set, and a training file in OpenAI's format.
#   sh examples/report_to_pairs.sh [REPORT.pdf] [DATASET]
. "$(dirname "$0")/common.sh"
report=${1:-$here/data/sample_report.pdf}
needs "$report"
document=$(ask POST "/v1/documents?name=$(basename "$report")" --data-binary "@$report" | first id)
ask POST "/v1/documents/$document/pairs?dataset=${2:-report_pairs}"
echo
