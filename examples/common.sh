# What the examples share. Sourced, not run.
# BULLION_URL: where the service listens. BULLION_KEY: an API key, where the service wants one.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
url=${BULLION_URL:-http://127.0.0.1:8321}

# request METHOD PATH [curl options]: prints the answer as it comes, a refusal too; fails on a refusal.
request() {
  method=$1 path=$2
  shift 2
  curl -sSN --fail-with-body -X "$method" -H "Authorization: Bearer ${BULLION_KEY:-none}" "$@" "$url$path"
}

# ask: a request's answer, whole; a refusal goes to stderr, past whoever reads the answer, and ends the script.
ask() {
  answer=$(request "$@") || {
    printf '%s\n' "$answer" >&2
    exit 1
  }
  printf '%s' "$answer"
}

# follow: a request's answer as it comes; a refusal ends the script.
follow() {
  request "$@" || {
    echo >&2
    exit 1
  }
}

# json TEXT: the text as a JSON string.
json() {
  printf '"%s"' "$(printf '%s' "$1" | awk 'NR > 1 { printf "\\n" }
    { gsub(/\\/, "\\\\\\\\"); gsub(/"/, "\\\""); gsub(/\t/, "\\t"); printf "%s", $0 }')"
}

# encoded TEXT: the text as a part of a path or a query, each byte as %XX.
encoded() {
  printf '%s' "$1" | od -An -v -tx1 | tr -d ' \n' | sed 's/../%&/g'
}

# needs FILE: ends the script without it, where curl would send nothing and go on.
needs() {
  [ -r "$1" ] || {
    echo "There is no file $1" >&2
    exit 1
  }
}

# exists PATH: has the service anything there?
exists() {
  curl -sf -o /dev/null -H "Authorization: Bearer ${BULLION_KEY:-none}" "$url$1"
}

# first NAME: the value of that field in an answer, the earliest of several; fails where there is none.
first() {
  grep -o "\"$1\":\"\{0,1\}[^\",}]*" | head -n 1 | sed "s/\"$1\":\"\{0,1\}//" | grep .
}

# wait_for PATH: until the job at PATH has ended; fails unless it succeeded.
wait_for() {
  while :; do
    state=$(ask GET "$1")
    case $(printf '%s' "$state" | first status) in
      succeeded) return 0 ;;
      failed | cancelled | paused)
        printf '%s\n' "$state" >&2
        return 1
        ;;
    esac
    sleep 1
  done
}
