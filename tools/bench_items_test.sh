#!/bin/bash
# bench_items on canned output: the table, the verdicts, the exit status, and (where matplotlib is installed) the charts.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
bench=(./bench_items --items testdata/items --results testdata/results)
work=$(mktemp -d "${TEST_TMPDIR:-/tmp}/bench_items.XXXXXX")
trap 'rm -rf "$work"' EXIT
failures=0
fail() {
  echo "$1"
  failures=$((failures + 1))
}

table=$("${bench[@]}")
(( $? == 1 )) || fail "a missed bar does not show in the exit status"
[[ $table == "$(<testdata/table.txt)" ]] || fail "the table differs: $(diff testdata/table.txt <(echo "$table"))"

"${bench[@]}" first >"$work/first" || fail "three reached bars do not end with 0"
grep -q 'second' "$work/first" && fail "the pattern lets others through"
"${bench[@]}" no_such_item 2>/dev/null
(( $? == 2 )) || fail "no item matches, and nobody says so"

if /usr/bin/python3 -c 'import matplotlib' 2>/dev/null; then
  "${bench[@]}" --plot="$work/plots" >/dev/null 2>&1
  for svg in first second; do
    grep -q '</svg>' "$work/plots/$svg.svg" || fail "$svg.svg is no SVG"
    grep -q "<img src=\"$svg.svg\"" "$work/plots/index.html" || fail "the page does not show $svg.svg"
  done
  grep -q 'Remora, 2 threads' "$work/plots/first.svg" || fail "the threads are not told apart"
else
  echo "python3-matplotlib is not installed: no charts drawn (./dev bench items --plot installs it)"
fi
(( failures == 0 )) && echo ok
