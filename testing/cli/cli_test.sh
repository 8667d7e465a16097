#!/bin/bash
# What a user meets at the command line: flags, exit statuses, and one clear sentence for each mistake. Each function below named case_* is one test.
set -uo pipefail
remora=$(realpath "$1")
export PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
unset HOME XDG_CACHE_HOME  # where translations are kept
work=$(mktemp -d "${TEST_TMPDIR:-/tmp}/cli.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

# Helpers. `try` runs remora with a time limit; stdout, stderr and status are in $out, $err, $status.
try() {
  timeout -k 5 60 "$remora" "$@" >"$work/.out" 2>"$work/.err"
  status=$?
  out=$(<"$work/.out") err=$(<"$work/.err")
}
fail() {
  echo "    $1" >&2
  echo "    status $status, out \"${out:0:300}\", err \"${err:0:300}\"" >&2
  return 1
}
expect_status() { (( status == $1 )) || fail "status is not $1"; }
expect_out() { [[ $out == "$1" ]] || fail "stdout is not \"$1\""; }
# One sentence from remora, which matches.
expect_sentence() {
  [[ $(wc -l <"$work/.err") -eq 1 && $err == "remora: "* ]] || { fail "stderr is not one sentence of remora's"; return 1; }
  [[ $err =~ $1 ]] || fail "stderr does not match /$1/"
}
# A minimal ELF header: class, machine as \x escapes.
elf() { printf "\x7fELF$1\x01\x01\0\0\0\0\0\0\0\0\0\x02\0$2\x01\0\0\0"; head -c 200 /dev/zero; }

case_exit_status_is_passed_on() { try /bin/sh -c 'exit 37' && : ; expect_status 37; }
case_death_by_signal_is_128_plus_n() { try /bin/sh -c 'kill -TERM $$'; expect_status 143; }
case_stdin_stdout_stderr() {
  echo hello | timeout 20 "$remora" /bin/sh -c 'cat; echo oops >&2' >.out 2>.err
  status=$? out=$(<.out) err=$(<.err)
  expect_status 0 && expect_out hello && { [[ $err == oops ]] || fail "stderr lost"; }
}
case_program_is_searched_in_path() { try echo found; expect_status 0 && expect_out found; }
# A figure of --stats.
figure() { awk -v name="$1" '$1 == name { print $2 }' "$work/.err"; }
# Processes share what was translated, the library at the same address included. What is new is where the shell goes another way.
case_a_second_process_translates_nothing() {
  [[ $(uname -m) == x86_64 ]] || return 0
  local once
  try --stats --cpu-opt=-warm /bin/sh -c '/bin/true; :'; expect_status 0 || return
  once=$(figure blocks_decoded)
  (( once > 300 )) || { fail "only $once blocks for one"; return; }
  try --stats --cpu-opt=-warm /bin/sh -c '/bin/true; /bin/true; /bin/true; :'; expect_status 0 || return
  (( $(figure blocks_decoded) <= once + 30 )) || { fail "$(figure blocks_decoded) blocks for three, $once for one"; return; }
  # Another program, the same libraries.
  try --stats --cpu-opt=-warm /bin/sh -c '/bin/true; /bin/false; :'; expect_status 0 || return
  (( $(figure blocks_decoded) <= once + once / 4 )) || fail "$(figure blocks_decoded) blocks for two programs, $once for one"
}
case_translated_code_is_small() {
  try --stats --cpu-opt=-warm /bin/sh -c ':'; expect_status 0 || return
  (( $(figure host_bytes_translated) <= 14 * $(figure guest_bytes_translated) )) || fail "more than 14 bytes for one"
}
# Translated code outlives a run: the first one keeps it, the third has nothing left to translate but what is not kept.
case_translations_are_kept() {
  [[ $(uname -m) == x86_64 ]] || return 0
  local once script='i=0; while [ $i -lt 3000 ]; do i=$((i + 1)); case $i in *7*) : ;; esac; done; echo $i'
  try --translations=kept --stats --cpu-opt=-warm /bin/sh -c "$script"; expect_status 0 && expect_out 3000 || return
  once=$(figure blocks_decoded)
  [[ -z $(figure blocks_of_earlier_runs) ]] || { fail "an earlier run?"; return; }
  try --translations=kept --stats --cpu-opt=-warm /bin/sh -c "$script"; expect_status 0 && expect_out 3000 || return
  try --translations=kept --stats --cpu-opt=-warm /bin/sh -c "$script"; expect_status 0 && expect_out 3000 || return
  (( $(figure blocks_of_earlier_runs) > once / 2 )) || { fail "$(figure blocks_of_earlier_runs) kept of $once"; return; }
  (( $(figure blocks_decoded) < once / 5 )) || { fail "$(figure blocks_decoded) blocks, $once at first"; return; }
  (( $(figure paths_of_earlier_runs) > 0 )) || { fail "no path of an earlier run"; return; }
  # Other settings: nothing of that is of use.
  try --translations=kept --stats --cpu-opt=-warm --cpu=v2 /bin/sh -c "$script"; expect_status 0 && expect_out 3000 || return
  [[ -z $(figure blocks_of_earlier_runs) ]] || { fail "of another CPU"; return; }
  # What is damaged is found out, and made anew.
  for file in kept/*.translations; do
    printf 'damaged' | dd of="$file" bs=1 seek=$(( $(stat -c %s "$file") / 2 )) conv=notrunc status=none
  done
  try --translations=kept --cpu-opt=-warm /bin/sh -c "$script"; expect_status 0 && expect_out 3000
}
case_translations_of_several_runs_at_once() {
  local i pids=()
  for i in 1 2 3 4; do
    timeout 60 "$remora" --translations=shared --cpu-opt=-warm /bin/sh -c 'echo a b c | tr b x | sort' >".out$i" 2>".err$i" &
    pids+=($!)
  done
  wait "${pids[@]}"
  for i in 1 2 3 4; do [[ $(<".out$i") == "a x c" && ! -s .err$i ]] || { out=$(<".out$i") err=$(<".err$i"); fail "run $i"; return; }; done
}
# What the caller's own limit forbids is said, and the program's status stays.
case_translations_beyond_the_limit_of_files() {
  mkdir -m 700 small
  out=$(ulimit -f 16; timeout 60 "$remora" --translations=small --cpu-opt=-warm /bin/sh -c 'echo done; exit 3' 2>.err); status=$? err=$(<.err)
  expect_status 3 && expect_out done && expect_sentence 'File too large' || return
  [[ -z $(ls small | grep -v layout) ]] || fail "left: $(ls small)"
}
case_translations_where_they_cannot_be() {
  try --translations=/no/such/folder /bin/true; expect_status 125 && expect_sentence '/no/such/folder.*No such file' || return
  mkdir open && chmod 777 open
  try --translations=open /bin/true; expect_status 125 && expect_sentence 'open.*others may write' || return
  mkdir own && chmod 700 own
  try --bind=.:/mnt:rw --translations=own /bin/true; expect_status 125 && expect_sentence 'own.*the guest may write' || return
  try --engine=interpreter --translations=own /bin/true; expect_status 125 && expect_sentence 'translations.*no code'
}
# Nobody has to ask for it: they are kept where the caller keeps what can be made again, if that is his own.
case_translations_are_kept_in_the_callers_cache() {
  [[ $(uname -m) == x86_64 ]] || return 0
  local script='i=0; while [ $i -lt 300 ]; do i=$((i + 1)); done; echo $i' run
  mkdir -m 700 home
  export HOME=$work/home
  for run in 1 2 3; do try --stats --cpu-opt=-warm /bin/sh -c "$script"; expect_status 0 && expect_out 300 || return; done
  (( $(figure blocks_of_earlier_runs) > 300 )) || { fail "not found"; return; }
  [[ $(stat -c %a home/.cache home/.cache/remora) == $'700\n700' ]] || { fail "$(stat -c '%a %n' home/.cache home/.cache/remora)"; return; }
  try --translations=none --stats /bin/sh -c "$script"; expect_status 0 && expect_out 300 || return
  [[ -z $(figure blocks_of_earlier_runs) ]] || { fail "found, though nobody wants them"; return; }
  mkdir -m 700 cache
  XDG_CACHE_HOME=$work/cache try --stats --cpu-opt=-warm /bin/sh -c "$script"; expect_status 0 && expect_out 300 || return
  [[ -d cache/remora && -z $(figure blocks_of_earlier_runs) ]] || fail "XDG_CACHE_HOME"
}
# Where that cannot be, nothing is said, and nothing made.
case_translations_are_kept_in_no_folder_of_others() {
  mkdir -m 700 {shared,guests,odd,open}home relative openhome/.cache
  chmod 770 sharedhome openhome/.cache
  touch oddhome/.cache
  local home
  for home in "$work/sharedhome" "$work/oddhome" "$work/openhome" relative /no/such/folder ''; do
    HOME=$home try /bin/echo fine; expect_status 0 && expect_out fine && [[ -z $err ]] || { fail "HOME=$home"; return; }
  done
  HOME=$work/guestshome try --bind="$work:/mnt:rw" /bin/echo fine; expect_status 0 && expect_out fine && [[ -z $err ]] || return
  XDG_CACHE_HOME=relative HOME=$work/sharedhome try /bin/echo fine; expect_status 0 && expect_out fine && [[ -z $err ]] || return
  local found
  found=$(find sharedhome guestshome oddhome openhome relative -name remora -o -name layout -o -path '*shome/.cache')
  [[ -z $found ]] || fail "kept there: $found"
}
# The folder that is opened is the one that was looked at.
case_translations_are_kept_out_of_the_guests_reach() {
  mkdir -m 700 -p data/sub data/cache names
  ln -s ../data/sub names/link
  XDG_CACHE_HOME=$work/names/link/../cache try --bind="$work/data:/mnt:rw" /bin/echo fine
  expect_status 0 && expect_out fine && [[ -z $err && ! -e data/cache/remora ]] || fail "in $(find data)"
}
case_help() { try --help; expect_status 0 && { [[ $out == usage:* ]] || fail "no usage"; }; }
case_version() { try --version; expect_status 0 && { [[ $out == remora\ * ]] || fail "no version"; }; }
case_bad_flag() { try --nonsense /bin/true; expect_status 125 && expect_sentence 'no such flag: --nonsense'; }
case_no_program_given() { try; expect_status 125 && expect_sentence 'no PROGRAM'; }
case_bad_strace_pattern() { try '--strace=(' /bin/true; expect_status 125 && expect_sentence 'strace'; }

case_no_such_program() { try /no/such/program; expect_status 127 && expect_sentence '/no/such/program'; }
case_no_such_program_in_path() { try no_such_program_at_all; expect_status 127 && expect_sentence 'no_such_program_at_all'; }
case_not_executable() { echo text >plain; chmod 644 plain; try ./plain; expect_status 126 && expect_sentence 'plain.*(ermission|executable)'; }
case_directory() { try /usr; expect_status 126 && expect_sentence '/usr.*directory'; }
case_empty_file() { : >empty; chmod +x empty; try ./empty; expect_status 126 && expect_sentence 'empty'; }
case_elf_32_bit() { elf '\x01' '\x03\0' >elf32; chmod +x elf32; try ./elf32; expect_status 126 && expect_sentence '32-bit'; }
case_elf_arm64() { elf '\x02' '\xb7\0' >arm64; chmod +x arm64; try ./arm64; expect_status 126 && expect_sentence '(arm64|AArch64|aarch64|ARM64)'; }
case_elf_truncated() { head -c 70 /bin/true >short; chmod +x short; try ./short; expect_status 126 && expect_sentence '(truncated|short|beyond)'; }
case_elf_cut_in_its_segments() { head -c 9000 /bin/true >cut; chmod +x cut; try ./cut; (( status == 126 || status > 128 )) || fail "a cut program ran"; }
case_missing_interpreter() {
  sed 's|/lib64/ld-linux-x86-64.so.2|/lib64/ld-linux-x86-64.so.9|' /bin/true >nointerp
  chmod +x nointerp
  try ./nointerp
  expect_status 127 && expect_sentence '/lib64/ld-linux-x86-64.so.9'
}
case_script_without_interpreter() { printf '#!/no/such/shell\n' >orphan; chmod +x orphan; try ./orphan; expect_status 127 && expect_sentence '/no/such/shell'; }
case_argument_over_the_limit() {
  head -c 140000 /dev/zero | tr '\0' x >long
  # The host's own limit is the same, so the guest's is met from inside.
  try /bin/bash -c '/bin/true "$(cat long)$(cat long)"'
  expect_status 126 && { [[ $err == *"Argument list too long"* ]] || fail "no E2BIG"; }
}

case_environment_is_the_callers_and_env_adds() {
  A=1 B=2 try --env=B=3 --env=C=four /bin/sh -c 'echo $A $B $C'
  expect_out '1 3 four'
}
case_chdir() { try --chdir=/usr/bin /bin/pwd; expect_out /usr/bin; }
case_chdir_missing() { try --chdir=/no/such /bin/pwd; expect_status 125 && expect_sentence '/no/such'; }
case_working_directory_is_the_callers() { try /bin/pwd; expect_out "$work"; }
case_host_is_not_changed() {
  echo before >file
  try /bin/sh -c 'echo after >file; rm -f gone; mkdir new; cat file; echo x >/etc/remora-test && cat /etc/remora-test'
  expect_status 0 && expect_out $'after\nx' || return 1
  [[ $(<file) == before && ! -e new && ! -e /etc/remora-test ]] || fail "the host was changed"
}
case_bind_rw_writes_to_the_host() {
  mkdir -p shared
  try --bind="$work/shared:/mnt:rw" /bin/sh -c 'echo kept >/mnt/file; mkdir /mnt/folder; ls /mnt'
  expect_status 0 && { [[ $(<shared/file) == kept && -d shared/folder ]] || fail "nothing written"; }
}
case_bind_ro_refuses_writes() {
  mkdir -p readonly && echo a >readonly/file
  try --bind="$work/readonly:/mnt" /bin/sh -c 'cat /mnt/file; echo b >/mnt/file'
  (( status != 0 )) && expect_out a && { [[ $err == *"Read-only file system"* ]] || fail "not EROFS"; }
}
case_bind_source_missing() { try --bind=/no/such:/mnt /bin/true; expect_status 125 && expect_sentence '/no/such'; }
case_root() {
  mkdir -p root/bin root/proc && cp /bin/busybox root/bin/
  try --root="$work/root" --chdir=/ /bin/busybox sh -c 'busybox ls /; busybox cat ../../../../etc/passwd'
  (( status != 0 )) && { [[ $out == *bin* && $out != *usr* ]] || fail "the root is not the folder"; }
}
case_root_missing() { try --root=/no/such /bin/true; expect_status 125 && expect_sentence '/no/such'; }
case_workers() { try --workers=1 /bin/sh -c 'echo a | cat'; expect_out a; }

case_strace() {
  try --strace=^openat$ /bin/cat /no/such/file
  [[ $err == *'openat(AT_FDCWD, "/no/such/file", O_RDONLY) = -1 ENOENT (No such file or directory)'* ]] || { fail "no openat line"; return 1; }
  [[ $err != *mmap\(* ]] || fail "the filter lets others through"
}
case_strace_all() { try --strace /bin/true; [[ $err == *execve\(* || $err == *mmap\(* ]] && [[ $err == *'exit_group(0)'* ]] || fail "calls missing"; }
case_stats() {
  try --stats /bin/true
  for word in instructions blocks TLB getpid\|openat\|mmap; do [[ $err =~ $word ]] || fail "--stats lacks $word" || return 1; done
}
# Figures of the JSON reports on stderr, one line for each report.
figure_of() { /usr/bin/python3 -c 'import json, sys; print(*(json.loads(line)[sys.argv[1]] for line in open(".err")), sep="\n")' "$1"; }
case_stats_json() {
  try --engine=interpreter --stats=json /bin/ls /
  expect_status 0 || return 1
  /usr/bin/python3 -m json.tool "$work/.err" >/dev/null || { fail "no valid JSON"; return 1; }
  local name
  for name in instructions memory_accesses TLB_hits TLB_misses dentry_misses frames; do
    (( $(figure_of "$name") > 0 )) || { fail "$name is not counted"; return 1; }
  done
  # Each access is a hit of some kind or a miss; the kernel's own come on top.
  (( $(figure_of TLB_hits) + $(figure_of TLB_misses) >= $(figure_of memory_accesses) )) || fail "accesses are lost"
}
case_stats_while_the_program_runs() {
  try --stats=json --stats-every=0.1 /bin/sh -c 'i=0; while [ $i -lt 8 ]; do i=$((i+1)); sleep 0.1; done; echo done'
  expect_out done || return 1
  /usr/bin/python3 -m json.tool --json-lines "$work/.err" >/dev/null || { fail "not a JSON object in each line"; return 1; }
  (( $(wc -l <.err) >= 3 )) || { fail "fewer than three reports"; return 1; }
  figure_of instructions | sort -cn || fail "instructions do not grow"
}
case_stats_every_alone_is_text() {
  try --stats-every=0.05 /bin/sleep 0.3
  (( $(grep -c ^instructions .err) >= 2 )) || fail "fewer than two reports"
}
case_stats_every_wants_seconds() { try --stats-every=-1 /bin/true; expect_status 125 && expect_sentence 'stats-every: wants seconds'; }
case_stats_counts_absent_calls() {
  printf '#include <errno.h>\n#include <unistd.h>\nint main(void){return syscall(425,0,0)==-1&&errno==ENOSYS?0:1;}' >uring.c
  gcc -o uring uring.c || { fail "gcc"; return 1; }
  try --stats ./uring
  expect_status 0 && { [[ $err =~ io_uring_setup\ +1\ .*absent:\ ENOSYS ]] || fail "the absent call is not counted"; }
}
case_cpu_levels() {
  printf 'int main(void){__asm__("vzeroupper");return 7;}' >avx.c && gcc -o avx avx.c || { fail "gcc"; return 1; }
  local engine
  for engine in interpreter translator; do
    try --engine=$engine --cpu=v2 /bin/grep -m1 ^flags /proc/cpuinfo
    [[ $out == *\ sse4_2\ * && $out != *avx* && $out != *xsave* ]] || { fail "flags are not those of x86-64-v2"; return 1; }
    try --engine=$engine --cpu=x86-64-v2 ./avx
    expect_status 132 || return 1
    try --engine=$engine --cpu=x86-64-v3 ./avx
    expect_status 7 || return 1
    # What the dynamic loader makes of CPUID.
    try --engine=$engine --cpu=x86-64 /lib64/ld-linux-x86-64.so.2 --help
    [[ $out == *x86-64-v2* && $out != *'x86-64-v2 (supported, searched)'* ]] || { fail "more than x86-64"; return 1; }
    try --engine=$engine --cpu=v3 /lib64/ld-linux-x86-64.so.2 --help
    [[ $out == *'x86-64-v3 (supported, searched)'* ]] || { fail "not x86-64-v3"; return 1; }
    [[ $out != *'x86-64-v4 (supported, searched)'* ]] || { fail "more than x86-64-v3"; return 1; }
  done
}
case_cpu_v4_is_what_the_host_has() {
  printf 'int main(void){__asm__("vpxord %%zmm16,%%zmm16,%%zmm16");return 7;}' >avx512.c && gcc -o avx512 avx512.c || { fail "gcc"; return 1; }
  local needed=0 flag engine
  for flag in f cd bw dq vl; do grep -q "^flags.* avx512$flag\( \|$\)" /proc/cpuinfo && needed=$((needed + 1)); done
  if [[ $needed != 5 ]]; then
    try --cpu=x86-64-v4 /bin/true
    expect_status 125 && expect_sentence "x86-64-v4 has AVX-512, which the host's CPU has not"
    return
  fi
  for engine in interpreter translator; do
    try --engine=$engine --cpu=v4 ./avx512
    expect_status 7 || return 1
    try --engine=$engine --cpu=v3 ./avx512
    expect_status 132 || return 1
    try --engine=$engine --cpu=v4 /bin/grep -m1 ^flags /proc/cpuinfo
    [[ $out == *\ avx512vl* && $out != *avx512ifma* && $out != *\ aes* ]] || { fail "flags are not those of x86-64-v4"; return 1; }
    try --engine=$engine --cpu=v4 /lib64/ld-linux-x86-64.so.2 --help
    [[ $out == *'x86-64-v4 (supported, searched)'* ]] || { fail "not x86-64-v4"; return 1; }
  done
}
case_cpu_unknown() { try --cpu=pentium /bin/true; expect_status 125 && expect_sentence '"pentium" is none of'; }

case_blocks_are_named_by_symbols() {
  printf '__attribute__((noinline)) int special_function(int x) { return x * 5; }\nint main(int c, char** v) { (void)v; return special_function(c); }' >named.c
  gcc -O1 -g -o named named.c || { fail "gcc"; return 1; }
  try --engine=translator --cpu-opt=-warm --dump-blocks='^special_function' ./named
  expect_status 5 || return 1
  [[ $err == *'special_function+0'*named*block* ]] || { fail "the block is not named"; return 1; }
  [[ $err != *main+* ]] || fail "other blocks are dumped, too"
}
case_perf_map() {
  printf '__attribute__((noinline)) int special_function(int x) { return x * 5; }\nint main(int c, char** v) { (void)v; return special_function(c); }' >named.c
  gcc -O1 -g -o named named.c || { fail "gcc"; return 1; }
  "$remora" --engine=translator --cpu-opt=-warm --perf-map ./named >.out 2>.err &
  local pid=$!
  wait "$pid"
  status=$?
  expect_status 5 || return 1
  grep -qE '^[0-9a-f]+ [0-9a-f]+ special_function\+0 \(named\)$' "/tmp/perf-$pid.map" || { fail "no line for the function"; return 1; }
  (( $(grep -c 'libc.so.6' "/tmp/perf-$pid.map") > 10 )) || fail "no lines for libc"
  (( $(grep -cE ' (enter|syscall) \(remora\)$' "/tmp/perf-$pid.map") == 2 )) || fail "routines have no lines"
  rm -f "/tmp/perf-$pid.map"
}
case_perf_map_has_what_a_killed_run_made() {
  printf 'volatile long turns; __attribute__((noinline)) void go_round(void) { for (;;) ++turns; }\nint main(void) { go_round(); }' >round.c
  gcc -O1 -o round round.c || { fail "gcc"; return 1; }
  "$remora" --cpu-opt=-warm --perf-map ./round >.out 2>.err &
  local pid=$!
  for _ in {1..100}; do
    sleep 0.1
    ! grep -q 'go_round' "/tmp/perf-$pid.map" 2>/dev/null || break
  done
  kill -KILL "$pid"
  wait "$pid" 2>/dev/null
  status=$?
  grep -qE '^[0-9a-f]+ [0-9a-f]+ go_round\+0 \(round\)$' "/tmp/perf-$pid.map" || fail "the function has no line"
  rm -f "/tmp/perf-$pid.map"
}
case_perf_map_needs_the_translator() { try --engine=interpreter --perf-map /bin/true; expect_status 125 && expect_sentence 'perf-map: the interpreter makes no code'; }
case_gdb_knows_translated_code() {
  printf 'volatile long turns; __attribute__((noinline)) void go_round(void) { for (;;) ++turns; }\nint main(void) { go_round(); }' >round.c
  gcc -O1 -o round round.c || { fail "gcc"; return 1; }
  command -v gdb >/dev/null || { echo "    not run: there is no gdb"; return 0; }
  "$remora" --workers=1 --cpu-opt=-warm --gdb-symbols ./round >.out 2>.err &
  local pid=$! told=
  # Now and then a worker is elsewhere.
  for _ in {1..6}; do
    sleep 0.5
    told=$(timeout 20 gdb -nx -batch -ex 'thread apply all -q info symbol $pc' -p "$pid" 2>&1 </dev/null)
    [[ $told != *'go_round+'* && $told != *'not permitted'* ]] || break
  done
  kill "$pid"
  wait "$pid"
  status=$? out=$told
  if [[ $told == *'not permitted'* ]]; then echo "    not run: this host lets nobody attach to a process"; return 0; fi
  [[ $told == *'go_round+'*'(round)'*'in section .text'* ]] || fail "gdb does not name the function"
}
case_gdb_is_told_while_it_runs_remora() {
  command -v gdb >/dev/null || { echo "    not run: there is no gdb"; return 0; }
  # What the 100th piece of code is a translation of, as perf's map has it and as gdb has heard by the 300th change.
  cat >ask.py <<'PY'
map = "/tmp/perf-%d.map" % gdb.selected_inferior().pid
address, size, name = open(map).readlines()[100].rstrip("\n").split(" ", 2)
os.unlink(map)
told = gdb.execute("info symbol 0x%x" % (int(address, 16) + 1), to_string=True)
print("gdb says the same" if told.startswith(name + " + 1 in section .text") else "gdb says %s for %s" % (told, name))
PY
  timeout 60 gdb -nx -batch -ex 'break __jit_debug_register_code' -ex 'ignore 1 300' -ex run -ex 'python import os' -ex 'source ask.py' \
    --args "$remora" --workers=1 --cpu-opt=-warm --gdb-symbols --perf-map /bin/bash -c 'echo $((6 * 7))' >.out 2>&1 </dev/null
  status=$? out=$(<.out) err=
  if [[ $out == *'not permitted'* ]]; then echo "    not run: this host lets nobody trace a process"; return 0; fi
  [[ $out == *'gdb says the same'* ]] || fail "gdb does not know"
}
case_gdb_symbols_need_the_translator() { try --engine=interpreter --gdb-symbols /bin/true; expect_status 125 && expect_sentence 'gdb-symbols: the interpreter makes no code'; }

case_engines_are_verified() {
  try --engine=verify /bin/bash -c 'echo $((6 * 7)) | cat; echo b a | tr " " "\n" | sort; exit 3'
  expect_status 3 && expect_out $'42\na\nb' && { [[ -z $err ]] || fail "the engines differ"; }
}
case_verify_compares_from_the_first_instruction_on() {
  try --engine=verify --stats /bin/true; expect_status 0 || return
  (( $(figure blocks_decoded) > 300 )) || fail "only $(figure blocks_decoded) blocks are translated"
}
case_the_interpreter_shows_avx512_if_asked() {
  grep -q avx512vl /proc/cpuinfo || return 0
  try --engine=interpreter /bin/grep -c avx512 /proc/cpuinfo
  expect_status 1 && expect_out 0 || return 1
  try --engine=interpreter --cpu=host /bin/grep -q avx512vl /proc/cpuinfo
  expect_status 0
}
case_verify_has_one_worker() { try --engine=verify --workers=2 /bin/true; expect_status 125 && expect_sentence 'verify has one worker'; }

case_time_is_told_without_system_calls() {
  # Where the host's kernel tells the time by something else, so does the vDSO.
  [[ $(</sys/devices/system/clocksource/clocksource0/current_clocksource) == tsc ]] || return 0
  local engine calls
  for engine in interpreter translator; do
    try --engine=$engine --stats /bin/bash -c 'sleep 0.02; for ((i = 0; i < 20000; ++i)); do now=$EPOCHREALTIME; done; echo "${now%.*}"'
    expect_status 0 || return 1
    (( $(date +%s) - out <= 1 && out <= $(date +%s) )) || { fail "the time is wrong"; return 1; }
    calls=$(awk '/^(clock_gettime|gettimeofday|time) / { n += $2 } END { print n + 0 }' .err)
    (( calls < 50 )) || { fail "$calls system calls for the time"; return 1; }
  done
}
case_illegal_instruction_is_reported() {
  printf 'int main(void){__asm__(".byte 0x0f,0x0b");return 0;}' >ud2.c && gcc -o ud2 ud2.c || { fail "gcc"; return 1; }
  try ./ud2
  expect_status 132 && { [[ $err == *"0f 0b"* ]] || fail "the bytes are not named"; }
}

case_stalled_stdin_stalls_nobody() {
  mkfifo stalled
  sleep 30 >stalled &
  local holder=$!
  timeout 20 "$remora" --workers=1 /bin/sh -c 'cat & i=0; while [ $i -lt 200 ]; do i=$((i+1)); /bin/true; done; echo done; kill $!' <stalled >.out 2>.err
  status=$? out=$(<.out) err=$(<.err)
  kill "$holder"
  expect_out done
}
case_termination_reaches_the_program() {
  "$remora" /bin/sh -c 'trap "echo got it; exit 9" TERM; echo ready; while :; do sleep 0.05; done' >.out 2>.err &
  local pid=$!
  for _ in {1..100}; do grep -q ready .out && break; sleep 0.05; done
  kill -TERM "$pid"
  wait "$pid"
  status=$? out=$(<.out) err=$(<.err)
  expect_status 9 && expect_out $'ready\ngot it'
}
case_ignored_signals_stay_ignored() {
  out=$(trap '' USR1; timeout 20 "$remora" /bin/sh -c 'kill -USR1 $$; echo alive; kill -USR2 $$; echo not reached' 2>.err)
  status=$?
  expect_status 140 && expect_out alive
}
case_few_descriptors_are_enough() {
  local limit native
  # The caller's limit is the guest's; Remora takes what it may have, or gets by.
  for limit in "-Sn 40" "-n 90"; do
    native=$(ulimit $limit; /bin/bash -c 'ulimit -n; ls / | wc -l')
    out=$(ulimit $limit; timeout 60 "$remora" /bin/bash -c 'ulimit -n; ls / | wc -l' 2>.err); status=$? err=$(<.err)
    expect_status 0 && expect_out "$native" || return
  done
  # More libraries than there are descriptors.
  out=$(ulimit -n 100; timeout 120 "$remora" /bin/bash -c 'for f in /usr/lib/x86_64-linux-gnu/*.so.*; do
      LD_PRELOAD=$f /bin/true 2>/dev/null; ((++n < 150)) || break; done; /bin/echo $n' 2>.err); status=$? err=$(<.err)
  expect_status 0 && [[ $out -gt 50 ]] || fail "not all were run"
}
case_too_few_descriptors_are_told() {
  ( ulimit -n 5; timeout 20 "$remora" /bin/true >.out 2>.err ); status=$?
  out=$(<.out) err=$(<.err)
  expect_status 125 && expect_sentence "Too many open files"
}
case_a_small_stack_is_the_guests_alone() {
  local ask='ulimit -s; f() { (($1 == 0)) || f $(($1 - 1)); }; f 3; /bin/echo $?'
  # The environment lies on the stack, too.
  out=$(exec env -i /bin/bash -c 'ulimit -Ss 16; timeout 20 "$0" /bin/bash -c "$1"' "$remora" "$ask")
  status=$?
  expect_status 0 && expect_out $'16\n0'
}
case_limits_and_niceness_are_the_callers() {
  local ask='ulimit -n; ulimit -s; ulimit -Hc; ulimit -f; nice' native
  native=$(ulimit -n 333; ulimit -s 4096; ulimit -c 0; ulimit -f 5000; nice -n 3 /bin/bash -c "$ask")
  out=$(ulimit -n 333; ulimit -s 4096; ulimit -c 0; ulimit -f 5000; nice -n 3 timeout 20 "$remora" /bin/bash -c "$ask")
  status=$?
  expect_status 0 && expect_out "$native"
}
case_closed_stdout_ends_the_writer() {
  timeout 20 "$remora" /usr/bin/yes 2>.err | head -1 >.out
  status=${PIPESTATUS[0]} out=$(<.out) err=$(<.err)
  expect_status 141 && expect_out y
}
case_closed_descriptors() { timeout 20 "$remora" /bin/true <&- >&- 2>&-; status=$? out= err=; expect_status 0; }
case_a_close_of_stdout_reaches_its_reader() {
  mkfifo hold
  exec 9<>hold
  "$remora" /bin/sh -c 'echo out; exec >&- 2>&-; read line' <&9 9<&- 2>/dev/null | { timeout 20 cat >.out && : >seen; echo done >&9; }
  exec 9<&-
  status=0 out=$(<.out) err=
  expect_out out && { [[ -f seen ]] || fail "no end of file while the program ran"; }
}
case_terminal_is_restored() {
  script -qec "stty -a >before; '$remora' /bin/stty raw -echo; stty -a >after" /dev/null >/dev/null 2>&1 </dev/null
  status=0 out= err=
  [[ -s before ]] && cmp -s before after || fail "the terminal was left changed"
}
case_terminal_is_a_terminal() {
  out=$(script -qec "'$remora' /bin/sh -c 'tty -s && stty size'" /dev/null 2>&1 </dev/null | tr -d '\r') status=0 err=
  [[ $out =~ ^[0-9]+\ [0-9]+$ ]] || fail "no size"
}

[[ $(type -t "${2:-}") == function ]] && { "$2"; exit; }
passed=0 failed=0 xml=
for name in $(declare -F | awk '$3 ~ /^case_/ { print $3 }'); do
  status=- out= err=
  if ( "$name" ); then
    passed=$((passed + 1)) xml+="<testcase name=\"${name#case_}\"/>"
    echo "[  OK   ] ${name#case_}"
  else
    failed=$((failed + 1)) xml+="<testcase name=\"${name#case_}\"><failure/></testcase>"
    echo "[ FAILED ] ${name#case_}"
  fi
done
[[ -n ${XML_OUTPUT_FILE:-} ]] && echo "<testsuites tests=\"$((passed + failed))\" failures=\"$failed\" errors=\"0\"><testsuite name=\"cli\" tests=\"$((passed + failed))\" failures=\"$failed\" errors=\"0\">$xml</testsuite></testsuites>" >"$XML_OUTPUT_FILE"
echo "$passed passed, $failed failed"
(( failed == 0 ))
