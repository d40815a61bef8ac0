#!/bin/sh
# The same, token by token as server-sent events.
#   sh examples/stream.sh [MODEL] [QUESTION]
. "$(dirname "$0")/common.sh"
follow POST /v1/chat/completions -H 'Content-Type: application/json' -d '{
  "model": '"$(json "${1:-bullion-tiny}")"',
  "messages": [{"role": "user", "content": '"$(json "${2:-什么是营业收入？}")"'}],
  "stream": true,
  "stream_options": {"include_usage": true},
  "max_tokens": 64
}'
