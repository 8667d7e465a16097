#!/bin/bash
# run_programs.sh REMORA ROWS [NAME...]: runs each row natively and under Remora and compares output, errors, exit status and the files left behind.
# Rows that testing/expectations/programs.txt names are expected to differ: one that is equal after all fails, so that the list stays true.
# REMORA_FLAGS are given to Remora; a row may take ROW_SECONDS (200). REMORA_RUNS: how often Remora runs each row (1); the last run is compared. With
# more than one, all runs keep their translations in one folder, so that the last ones find what the first ones have translated.
set -uo pipefail
remora=$(realpath "$1") rows=$2 expectations=$3
shift 3
read -ra flags <<<"${REMORA_FLAGS:-}"
work=$(mktemp -d "${TEST_TMPDIR:-/tmp}/programs.XXXXXX")
trap 'chmod -R u+rwX "$work"; rm -rf "$work"' EXIT
runs=${REMORA_RUNS:-1}
(( runs == 1 )) || flags+=("--translations=$work/translations")
export LC_ALL=C.UTF-8 TZ=UTC PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
unset BASH_ENV ENV HOME XDG_CACHE_HOME
shard=${TEST_SHARD_INDEX:-0} shards=${TEST_TOTAL_SHARDS:-1}
[[ -n ${TEST_SHARD_STATUS_FILE:-} ]] && touch "$TEST_SHARD_STATUS_FILE"
passed=0 failed=0 index=0 xml=

# The files below a folder: name, type, permissions, size or target, content.
describe() {
  (cd "$1" && find . -mindepth 1 -printf '%p %y %m %l\n' | sort && find . -type f -exec md5sum {} + | sort -k2)
}

# run native|remora COMMAND: leaves out, err, status and files in $work/$1.
run() {
  local kind=$1 command=$2 folder=$work/folder prefix=() arguments=()
  rm -rf "$folder" && mkdir -p "$folder" "$work/$kind"
  [[ $kind == remora ]] && prefix=("$remora" "${flags[@]}" "--bind=$folder:$folder:rw")
  if [[ $command == @* ]]; then
    eval "arguments=(${command#@})"
  else
    arguments=(/bin/bash -c "$command")
  fi
  (cd "$folder" && exec timeout -k 5 ${ROW_SECONDS:-200} "${prefix[@]}" "${arguments[@]}") >"$work/$kind/out" 2>"$work/$kind/err" </dev/null
  echo $? >"$work/$kind/status"
  describe "$folder" >"$work/$kind/files"
}

while IFS=$'\t' read -r name command; do
  [[ -z $name || $name == \#* ]] && continue
  if (( $# )); then
    [[ " $* " == *" $name "* ]] || continue
  elif (( index++ % shards != shard )); then
    continue
  fi
  run native "$command"
  for (( i = 0; i < runs; ++i )); do run remora "$command"; done
  differs=
  for part in status out err files; do
    cmp -s "$work/native/$part" "$work/remora/$part" || differs+=" $part"
  done
  known=$(grep "^$name # " "$expectations")
  if [[ -n $known && -n $differs ]]; then
    echo "[ known ] $known"
    differs=
  elif [[ -n $known ]]; then
    differs=" nothing, though testing/expectations/programs.txt says so"
  fi
  if [[ -z $differs ]]; then
    passed=$((passed + 1))
    echo "[  OK   ] $name"
    xml+="<testcase name=\"$name\"/>"
  else
    failed=$((failed + 1))
    echo "[ FAILED ] $name: differs in:$differs"
    for part in status out err files; do
      diff -a "$work/native/$part" "$work/remora/$part" | head -8 | sed "s/^/    $part: /"
    done
    xml+="<testcase name=\"$name\"><failure message=\"differs in$differs\"/></testcase>"
  fi
done <"$rows"

[[ -n ${XML_OUTPUT_FILE:-} ]] && echo "<testsuites tests=\"$((passed + failed))\" failures=\"$failed\" errors=\"0\"><testsuite name=\"programs\" tests=\"$((passed + failed))\" failures=\"$failed\" errors=\"0\">$xml</testsuite></testsuites>" >"$XML_OUTPUT_FILE"
echo "$passed passed, $failed failed"
(( failed == 0 && passed > 0 ))
