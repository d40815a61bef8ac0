#!/bin/sh
# Follows a job until it ends, event by event. To go on where you left: -H 'Last-Event-ID: N'.
#   sh examples/watch.sh [JOB]        without JOB: the newest one; a job is started where there is none
. "$(dirname "$0")/common.sh"
newest() {
  jobs=$(ask GET '/v1/fine_tuning/jobs?limit=1') || exit
  printf '%s' "$jobs" | first id || sh "$here/train_openai.sh" | first id
}
job=${1:-$(newest)}
follow GET "/v1/fine_tuning/jobs/$(encoded "$job")/events?stream=true"
