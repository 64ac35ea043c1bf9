#!/bin/sh
# Records what the page allocator of this Linux kernel does, by tracefs alone, and its state in /proc before and after.
# docs/recording.md says how to use it. It works in a tracing instance of its own: tracing of others goes on undisturbed.
# Fields of probes hold $retval as it stands, and the trap calls cleanup.
# shellcheck disable=SC2016,SC2317
set -u

usage() {
  echo "usage: record.sh [-o DIR] [-b KIB] [-s SECONDS | -- command...]"
  echo "  -o DIR      folder of the result, made anew (default hintsim-recording)"
  echo "  -b KIB      trace buffer of each CPU in KiB; 32 MiB hold about 700000 events (default 32768)"
  echo "  -s SECONDS  ends after this time; without it and without a command, ends at Ctrl-C"
}

fail() {
  echo "record.sh: $*" >&2
  exit 2
}

say() {
  echo "record.sh: $*" >&2
}

out=hintsim-recording
buffer_kib=32768
seconds=
while [ $# -gt 0 ]; do
  case $1 in
    -o | -b | -s)
      [ $# -ge 2 ] || fail "$1 wants a value"
      case $1 in
        -o) out=$2 ;;
        -b) buffer_kib=$2 ;;
        -s) seconds=$2 ;;
      esac
      shift 2
      ;;
    -h | --help)
      usage
      exit 0
      ;;
    --)
      shift
      break
      ;;
    *) fail "unknown option $1; record.sh -h says what there is" ;;
  esac
done
case $buffer_kib in '' | *[!0-9]*) fail "-b $buffer_kib: is not a number of KiB" ;; esac
case $seconds in *[!0-9]*) fail "-s $seconds: is not a whole number of seconds" ;; esac
[ -z "$seconds" ] || [ $# -eq 0 ] || fail "-s and a command exclude each other"

# Tests name another tree.
proc=${PROC:-/proc}
if [ -z "${TRACEFS:-}" ]; then
  [ "$(id -u)" = 0 ] || fail "tracing wants root; run it with sudo"
  TRACEFS=/sys/kernel/tracing
  [ -d "$TRACEFS/events" ] || TRACEFS=/sys/kernel/debug/tracing
fi
[ -d "$TRACEFS/events" ] || fail "there is no tracefs; mount it: mount -t tracefs tracefs /sys/kernel/tracing"
[ -w "$TRACEFS/kprobe_events" ] || [ -w "$TRACEFS/tracing_on" ] || fail "$TRACEFS may not be written; run it as root"
[ -d "$TRACEFS/events/kmem/mm_page_alloc_zone_locked" ] || fail "this kernel has no kmem events (CONFIG_TRACEPOINTS)"
[ -d "$TRACEFS/instances" ] || fail "this kernel's tracefs has no instances"
[ ! -e "$out" ] || fail "$out exists; name another folder with -o"
instance=$TRACEFS/instances/hintsim
[ ! -e "$instance" ] || fail "$instance exists: another recording runs, or one was killed (remove it with rmdir)"

release=${RELEASE:-$(uname -r)}
major=${release%%.*}
rest=${release#*.}
minor=${rest%%[!0-9]*}
is_new=0
if [ "$major" -gt 6 ] || { [ "$major" -eq 6 ] && [ "$minor" -ge 10 ]; }; then is_new=1; fi

child=
# Leaves tracefs as it was found.
cleanup() {
  trap '' INT TERM HUP
  if [ -d "$instance" ]; then
    echo 0 > "$instance/tracing_on"
    echo 0 > "$instance/events/enable"
    rmdir "$instance"
  fi
  for probe in free_one_page free_pages_ok isolate_free_page isolate_free_page_ret putback_isolated_page \
    alloc_pages_bulk_ret decay_pcp_high; do
    if grep -q ":hintsim/$probe " "$TRACEFS/kprobe_events" 2> /dev/null; then
      echo "-:hintsim/$probe" >> "$TRACEFS/kprobe_events"
    fi
  done
}
mkdir -p "$out" || fail "$out cannot be made"
trap 'exit 130' INT TERM HUP
trap cleanup EXIT
mkdir "$instance" || fail "$instance cannot be made"

# The name of a function as this kernel has it: compilers append to it.
symbol() {
  sed -n "s/^[0-9a-f]* [tT] \($1\(\.constprop\.[0-9]*\|\.isra\.[0-9]*\)*\)\([[:space:]].*\)\{0,1\}$/\1/p" "$proc/kallsyms" | head -n 1
}

# place TYPE NAME FUNCTION FIELDS WHAT: a probe; without it the recording goes on, and WHAT is said.
place() {
  function=$(symbol "$3")
  if [ -n "$function" ]; then
    if echo "$1:hintsim/$2 $function $4" 2> /dev/null >> "$TRACEFS/kprobe_events"; then return 0; fi
  fi
  say "no probe on $3: $5"
  return 1
}

base='base=@vmemmap_base:x64'
if [ "$is_new" = 1 ]; then
  place p free_one_page free_one_page 'pfn=%dx:u64 order=%cx:u32 fpi=%r8:x32' \
    'frees past the per-CPU lists are missing, a replay is approximate'
  place p decay_pcp_high decay_pcp_high 'zone=%di' 'the decay of per-CPU lists is missing, level pcp is approximate'
  bulk=alloc_pages_bulk_noprof
else
  place p free_one_page free_one_page 'pfn=%dx:u64 order=%cx:u32 mt=%r8:s32' \
    'frees past the per-CPU lists are missing, a replay is approximate'
  place p free_pages_ok __free_pages_ok "page=%di $base order=%si:u32 fpi=%dx:x32" \
    'frees of large blocks are missing, a replay is approximate'
  bulk=__alloc_pages_bulk
fi
place p isolate_free_page __isolate_free_page "page=%di $base order=%si:u32" \
  'blocks taken by compaction and reporting are missing, a replay is approximate under them' &&
  place r isolate_free_page_ret __isolate_free_page 'ret=$retval' 'failed isolations count as isolations'
place p putback_isolated_page __putback_isolated_page "page=%di $base order=%si:u32 mt=%dx:s32" \
  'blocks put back by reporting are missing, a replay is approximate with it'
place r alloc_pages_bulk_ret "$bulk" 'ret=$retval:u64' 'bulk allocations are missing, level pcp is approximate'

echo 0 > "$instance/tracing_on"
echo "$buffer_kib" > "$instance/buffer_size_kb" || fail "$buffer_kib KiB for each CPU are not to be had; make -b smaller"
# A full buffer keeps the beginning, which fits the state at the start.
echo 0 > "$instance/options/overwrite"
clock=mono
if grep -qw x86-tsc "$instance/trace_clock"; then clock=x86-tsc; fi
echo "$clock" > "$instance/trace_clock"
tsc_mhz=
if [ "$clock" = x86-tsc ]; then
  tsc_mhz=$(dmesg 2> /dev/null | sed -n 's/.*tsc: .* \([0-9][0-9.]*\) MHz.*/\1/p' | tail -n 1)
  [ -n "$tsc_mhz" ] || tsc_mhz=$(sed -n 's/^cpu MHz[^0-9]*\([0-9.]*\)$/\1/p' "$proc/cpuinfo" | head -n 1)
fi
for event in mm_page_alloc mm_page_alloc_zone_locked mm_page_free mm_page_free_batched mm_page_pcpu_drain \
  mm_page_alloc_extfrag; do
  echo 1 > "$instance/events/kmem/$event/enable" || fail "the event $event cannot be enabled"
done
if [ -d "$instance/events/hintsim" ]; then echo 1 > "$instance/events/hintsim/enable"; fi

# A full buffer takes no mark; that events were lost is said at the end.
mark() {
  echo "$1" 2> /dev/null > "$instance/trace_marker" || :
}

# Copies what /proc says while tracing goes on: the rows between the two marks correct what changed meanwhile.
snapshot() {
  mark "reading $1"
  for file in kpageflags zoneinfo pagetypeinfo buddyinfo meminfo; do
    cat "$proc/$file" > "$out/$1.$file" 2> /dev/null || say "$proc/$file cannot be read"
  done
  mark "hintsim:S $1"
}

stopped=0
trap 'stopped=1; [ -z "$child" ] || kill "$child" 2> /dev/null' INT TERM HUP
HINTSIM_MARKER=$instance/trace_marker
export HINTSIM_MARKER

echo 1 > "$instance/tracing_on"
snapshot s0
status=0
if [ "$stopped" = 1 ]; then
  say "stopped before it began"
elif [ $# -gt 0 ]; then
  mark "begin $*"
  "$@" &
  child=$!
elif [ -n "$seconds" ]; then
  sleep "$seconds" &
  child=$!
else
  say "recording; Ctrl-C ends it"
  sleep 2147483647 &
  child=$!
fi
if [ -n "$child" ]; then wait "$child" || status=$?; fi
child=
[ $# -eq 0 ] || mark "end $*"
snapshot s1
echo 0 > "$instance/tracing_on"

# Events that found the buffer full, over all CPUs.
lost=$(cat "$instance"/per_cpu/cpu*/stats 2> /dev/null |
  awk '/^overrun:|^dropped events:|^commit overrun:/ { lost += $NF } END { print lost + 0 }')
cpus=$(find "$instance/per_cpu" -name 'cpu[0-9]*' 2> /dev/null | wc -l)
{
  echo "# hintsim: kernel=$release clock=$clock cpus=$((cpus)) lost=$lost${tsc_mhz:+ tsc_mhz=$tsc_mhz}"
  cat "$instance/trace"
} > "$out/trace.txt" || fail "$out/trace.txt cannot be written"
if command -v gzip > /dev/null; then gzip -f "$out/trace.txt"; fi

[ "$lost" = 0 ] || say "$lost events were lost as the buffer was full; record again with a larger -b than $buffer_kib"
if [ $# -gt 0 ] && [ "$stopped" = 0 ] && [ "$status" != 0 ]; then say "the command ended with status $status"; fi
say "done: $out"
if [ "$lost" != 0 ]; then exit 1; fi
exit 0
