#!/bin/sh
# Follows a job until it ends, event by event. To go on where you left: -H 'Last-Event-ID: N'.
#   sh examples/watch.sh [JOB]        without JOB: the newest one
. "$(dirname "$0")/common.sh"
job=${1:-$(ask GET '/v1/fine_tuning/jobs?limit=1' | first id)}
ask GET "/v1/fine_tuning/jobs/$job/events?stream=true" -N
