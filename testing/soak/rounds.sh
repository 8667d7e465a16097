#!/bin/bash
# rounds.sh SECONDS ROWS...: the guest of the soak. Runs every row of the files ROWS (testing/programs) in a fresh folder, round after round, at least three times
# and until SECONDS are over, two rows at a time. After each round, when nothing but this shell is alive, prints what Remora has then:
#   round N rows R different D tasks T files F frames M
# "different" counts the rows whose exit status or output is not that of the first round; the first few of each round are
# told on stderr, with where their outputs part.
set -u
seconds=$1
shift
base=$(mktemp -d) && cd "$base" || exit 1
export LC_ALL=C.UTF-8 TZ=UTC HOME=$base
# Not tmux_capture: what it shows depends on how fast the shell in it answers.
mapfile -t rows < <(grep -hvE '^(#|tmux_capture)' "$@")

one() { # NUMBER: status and checksum of the row's output
  local command=${rows[$1]#*$'\t'} folder=$base/run$1 status
  mkdir "$folder" && cd "$folder" || return
  if [[ $command == @* ]]; then
    eval "set -- ${command#@}"
  else
    set -- /bin/bash -c "$command"
  fi
  timeout -k 5 200 "$@" >"$folder.out" 2>&1 </dev/null
  status=$?
  sed "s|$folder|.|g" "$folder.out" >"$folder.text"
  echo "status $status" >>"$folder.text"
  md5sum <"$folder.text" >"$folder.sum"
  cd "$base" && rm -rf "$folder" "$folder.out"
}

# NUMBER: what the row printed now, and in the first round. Three ways, should one of the programs be what is wrong.
tell() {
  echo "differs in round $round: ${rows[$1]%%$'\t'*}"
  cat "first$1.sum" "run$1.sum"
  wc -c "first$1.text" "run$1.text"
  diff "first$1.text" "run$1.text" | head -c 600
}

# In pages: what meminfo counts as taken. Not by MemFree, which is the host's where that has less: its cache takes what
# is free, but stays available.
frames() { awk '/^MemTotal/ { total = $2 } /^MemAvailable/ { left = $2 } END { print (total - left) / 4 }' /proc/meminfo; }

for ((round = 1; round <= 3 || SECONDS < seconds; ++round)); do
  for ((i = 0; i < ${#rows[@]}; i += 2)); do
    (one $i) &
    if ((i + 1 < ${#rows[@]})); then (one $((i + 1))) & fi
    wait
  done
  different=0
  for ((i = 0; i < ${#rows[@]}; ++i)); do
    if ((round == 1)); then
      mv "run$i.sum" "first$i.sum"
      mv "run$i.text" "first$i.text"
    elif ! cmp -s "run$i.sum" "first$i.sum"; then
      ((++different > 5)) || tell "$i" >&2 2>&1
    fi
    rm -f "run$i.sum" "run$i.text"
  done
  read -r _ _ _ tasks _ </proc/loadavg
  read -r files _ </proc/sys/fs/file-nr
  echo "round $round rows ${#rows[@]} different $different tasks ${tasks#*/} files $files frames $(frames)"
done
