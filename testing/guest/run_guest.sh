#!/bin/bash
# run_guest.sh native|REMORA [FLAGS] PROGRAM [ARGS]: the program must exit 0 and print "ok" as its last line.
set -uo pipefail
[[ $1 == native ]] && shift
output=$("$@" </dev/null)
status=$?
printf '%s\n' "$output"
if (( status != 0 )); then
  echo "exit status $status, expected 0" >&2
  exit 1
fi
[[ ${output##*$'\n'} == ok ]] || { echo 'last line is not "ok"' >&2; exit 1; }
