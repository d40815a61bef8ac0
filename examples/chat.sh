#!/bin/sh
# Asks a model one question.
#   sh examples/chat.sh [MODEL] [QUESTION]
. "$(dirname "$0")/common.sh"
ask POST /v1/chat/completions -H 'Content-Type: application/json' -d '{
  "model": '"$(json "${1:-bullion-tiny}")"',
  "messages": [{"role": "user", "content": '"$(json "${2:-什么是营业收入？}")"'}],
  "temperature": 0,
  "max_tokens": 64
}'
echo
