#!/bin/sh
# A PDF report becomes question-answer pairs: a data set, and a training file in OpenAI's format.
#   sh examples/report_to_pairs.sh [REPORT.pdf] [DATASET]
. "$(dirname "$0")/common.sh"
report=${1:-$here/data/sample_report.pdf}
needs "$report"
name=$(encoded "$(basename "$report")")
document=$(ask POST "/v1/documents?name=$name" --data-binary "@$report" | first id)
ask POST "/v1/documents/$document/pairs?dataset=$(encoded "${2:-report_pairs}")"
echo
