# What the examples share. Sourced, not run.
# BULLION_URL: where the service listens. BULLION_KEY: an API key, where the service wants one.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
url=${BULLION_URL:-http://127.0.0.1:8321}

# ask METHOD PATH [curl options]: prints the answer; an error is printed and ends the script.
ask() {
  method=$1 path=$2
  shift 2
  curl -sS --fail-with-body -X "$method" -H "Authorization: Bearer ${BULLION_KEY:-none}" "$@" "$url$path" || {
    echo >&2
    exit 1
  }
}

# first NAME: like field, but the earliest of several on one line.
first() {
  grep -o "\"$1\":\"\{0,1\}[^\",}]*" | head -n 1 | sed "s/\"$1\":\"\{0,1\}//"
}

# wait_for PATH: until the job at PATH has ended; fails unless it succeeded.
wait_for() {
  while :; do
    job=$(ask GET "$1")
    status=$(printf '%s' "$job" | first status)
    case $status in
      succeeded) return 0 ;;
      failed | cancelled | paused)
        printf '%s\n' "$job" >&2
        return 1
        ;;
    esac
    sleep 1
  done
}
