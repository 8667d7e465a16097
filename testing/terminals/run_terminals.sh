#!/bin/bash
# run_terminals.sh REMORA DRIVE EXPECTATIONS [SCENARIO...]: runs each scenario of drive.py natively and under Remora and compares what was on the screen at each
# step, the exit status, and the files left behind. Scenarios that EXPECTATIONS names are expected to differ: one that is equal after all fails. REMORA_FLAGS are given to Remora.
set -uo pipefail
remora=$(realpath "$1") drive=$(realpath "$2") expectations=$3
shift 3
read -ra flags <<<"${REMORA_FLAGS:-}"
work=$(mktemp -d /tmp/terminals.XXXXXX)  # short: tmux makes a socket in it
trap 'rm -rf "$work"' EXIT
export PATH=/usr/local/bin:/usr/bin:/bin LC_ALL=C.UTF-8 TZ=UTC PYTHONDONTWRITEBYTECODE=1
unset BASH_ENV ENV HOME XDG_CACHE_HOME
(( $# )) || mapfile -t names < <(/usr/bin/python3 "$drive")
(( $# )) && names=("$@")
shard=${TEST_SHARD_INDEX:-0} shards=${TEST_TOTAL_SHARDS:-1}
[[ -n ${TEST_SHARD_STATUS_FILE:-} ]] && touch "$TEST_SHARD_STATUS_FILE"
passed=0 failed=0 index=0 xml=

# run KIND SCENARIO [PREFIX...]: leaves screens and files in $work/KIND.
run() {
  local kind=$1 name=$2 folder=$work/folder
  shift 2
  rm -rf "$folder" "$work/$kind" && mkdir -p "$folder" "$work/$kind"
  (cd "$folder" && exec timeout -k 5 600 "$@" /usr/bin/python3 "$drive" "$name") >"$work/$kind/screens" 2>&1 </dev/null
  (cd "$folder" && find . -type f -printf '%p %m\n' | sort && find . -type f -exec md5sum {} + | sort -k2) >"$work/$kind/files"
}

for name in "${names[@]}"; do
  (( index++ % shards == shard )) || continue
  run native "$name"
  run remora "$name" "$remora" "${flags[@]}" "--bind=$work/folder:$work/folder:rw"
  differs=
  for part in screens files; do
    cmp -s "$work/native/$part" "$work/remora/$part" || differs+=" $part"
  done
  grep -q "does not" "$work/native/screens" && differs+=" (natively, too, steps fail)"
  known=$(grep "^$name # " "$expectations")
  if [[ -n $known && -n $differs ]]; then
    echo "[ known ] $known"
    differs=
  elif [[ -n $known ]]; then
    differs=" nothing, though $expectations says so"
  fi
  if [[ -z $differs ]]; then
    passed=$((passed + 1))
    echo "[  OK   ] $name"
    xml+="<testcase name=\"$name\"/>"
  else
    failed=$((failed + 1))
    echo "[ FAILED ] $name: differs in:$differs"
    grep "does not" "$work/native/screens"
    for part in screens files; do
      diff -a "$work/native/$part" "$work/remora/$part" | head -30 | sed "s/^/    $part: /"
    done
    xml+="<testcase name=\"$name\"><failure message=\"differs in$differs\"/></testcase>"
  fi
done

[[ -n ${XML_OUTPUT_FILE:-} ]] && echo "<testsuites tests=\"$((passed + failed))\" failures=\"$failed\" errors=\"0\"><testsuite name=\"terminals\" tests=\"$((passed + failed))\" failures=\"$failed\" errors=\"0\">$xml</testsuite></testsuites>" >"$XML_OUTPUT_FILE"
echo "$passed passed, $failed failed"
(( failed == 0 && passed > 0 ))
