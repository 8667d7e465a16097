#!/bin/bash
# soak.sh REMORA SECONDS ROWS...: mixed programs in one Remora for SECONDS, round after round (rounds.sh). Fails if a row's result changes, or if from the second
# round to the last one tasks, open files, frames or the host process's own memory have grown: something is not given back. The last figures
# are those of --stats, when all processes are gone. SOAK_SECONDS in the environment wins; REMORA_FLAGS are given to Remora.
set -uo pipefail
remora=$(realpath "$1") seconds=${SOAK_SECONDS:-$2}
shift 2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mapfile -t rows < <(realpath "$@")
read -ra flags <<<"${REMORA_FLAGS:-}"
work=$(mktemp -d "${TEST_TMPDIR:-/tmp}/soak.XXXXXX")
trap 'rm -rf "$work"' EXIT
export PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
unset BASH_ENV ENV HOME XDG_CACHE_HOME

mkfifo "$work/rounds"
"$remora" "${flags[@]}" --memory=8192 --stats=json /bin/bash "$here/rounds.sh" "$seconds" "${rows[@]}" >"$work/rounds" 2>"$work/errors" </dev/null &
pid=$!
first=() last=()
# Fields: round rows different tasks files frames, and the host process's resident KiB.
while read -r -a words; do
  resident=$(awk '/^VmRSS/ { print $2 }' "/proc/$pid/status")
  echo "${words[*]} host KiB $resident"
  last=("${words[5]}" "${words[7]}" "${words[9]}" "${words[11]}" "$resident")
  ((words[1] == 2)) && first=("${last[@]}")
done <"$work/rounds"
wait "$pid"
status=$?
grep -a -v '^{' "$work/errors" | head -200
at_the_end=$(grep -a '^{' "$work/errors" | tail -1)
figure() { grep -oP "\"$1\": \K[0-9]+" <<<"$at_the_end"; }

passed=0 failed=0 xml=
check() { # NAME CONDITION
  if (($2)); then
    passed=$((passed + 1))
    xml+="<testcase name=\"$1\"/>"
  else
    failed=$((failed + 1))
    echo "[ FAILED ] $1: not $2"
    xml+="<testcase name=\"$1\"><failure message=\"not $2\"/></testcase>"
  fi
}
check exit_status "$status == 0"
check rounds "${#first[@]} == 5"
if ((${#first[@]} == 5)); then
  check same_results "${first[0]} == 0 && ${last[0]} == 0"
  # What ended last may not have been taken away yet.
  check tasks "${last[1]} <= 2"
  check open_files "${last[2]} <= ${first[2]}"
  # The shell that counts rounds remembers its children: some pages of its heap. What ended last may not be gone yet. A
  # frame lost in each row would be more than that.
  check frames "${last[3]} <= ${first[3]} + 128"
  # Which blocks of frames were touched differs from round to round, and what the allocator keeps for itself.
  check host_memory "${last[4]} * 2 <= ${first[4]} * 3"
fi
# The first process's leader is kept for whoever asks how it ended.
check tasks_at_the_end "$(figure tasks)+0 == 1"
check open_files_at_the_end "${at_the_end:+1} + $(figure open_files) == 1"
echo "at the end: tasks $(figure tasks), open files $(figure open_files), frames $(figure frames) (files' pages that stay cached)"

[[ -n ${XML_OUTPUT_FILE:-} ]] && echo "<testsuites tests=\"$((passed + failed))\" failures=\"$failed\" errors=\"0\"><testsuite name=\"soak\" tests=\"$((passed + failed))\" failures=\"$failed\" errors=\"0\">$xml</testsuite></testsuites>" >"$XML_OUTPUT_FILE"
echo "$passed passed, $failed failed"
((failed == 0))
