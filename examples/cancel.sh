#!/bin/sh
# Cancels a job between two steps; its checkpoints stay.
#   sh examples/cancel.sh [JOB]       without JOB: a job is started first
. "$(dirname "$0")/common.sh"
job=${1:-$(sh "$here/train_openai.sh" | first id)}
ask POST "/v1/fine_tuning/jobs/$(encoded "$job")/cancel"
echo
