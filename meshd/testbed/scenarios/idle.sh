# A node that advertises and listens among quiet neighbours takes 1 % of a core at most, and little memory more than without Bluetooth.
# limit: 500
# needs: meshd meshctl probe
ticks_of() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }

names=(a b c d e f)
names=("${names[@]:0:$((${NEIGHBOURS:-5} + 1))}")
# One after the other: bluetoothd 5.66 crashed in two of four runs when six nodes came at the same moment.
start_all() {
  local n
  for n in "${!names[@]}"; do
    start_node "${names[n]}" --adapter "$(adapter_of one $((n + 1)))" --log info
    wait_for "ble_is ${names[n]} up" 30
  done
}

# Each begins with something of its own: all have swapped, and nobody waits for a confirmation.
everybody_has_the_same() {
  local name
  bluetoothd_is_up || fail "bluetoothd has crashed"
  for name in "${names[@]}"; do (($(number "$name" /v1/status bundles) == bundles)) || return 1; done
}

everybody_is_quiet() {
  local name
  bluetoothd_is_up || fail "bluetoothd has crashed"
  for name in "${names[@]}"; do
    ble_is "$name" up && (($(links_of "$name") == 0)) || return 1
  done
}

# core_us: what a core is worth here and now.
core_us() { "$probe" core | jq .core_us; }

# The same node without Bluetooth, with a state directory of its own.
start_node without --no-ble --log info
bundles=$((${#names[@]} * $(number without /v1/status bundles)))
air_up one "${#names[@]}"
start_bluetoothd
start_all
wait_for everybody_has_the_same 120 1
# Links stay where they are; who starts with what all hold makes none, unless it waits for a confirmation.
for ((start = 1; ; start++)); do
  pause 5
  for name in "${names[@]}" without; do stop_node "$name"; done
  start_node without --no-ble --log info
  start_all
  if try_for everybody_is_quiet 30; then break; fi
  ((start < 4)) || fail "somebody is never quiet"
done
# Where nothing is new for 30 s, scans get longer.
pause "${SETTLE_S:-40}"
seconds=${MEASURE_S:-60}
worth=$(core_us)
declare -A before=()
for name in "${names[@]}" without; do before[$name]=$(ticks_of "${NODE_PID[$name]}"); done
bluetoothd_before=$(ticks_of "$BLUETOOTHD_PID")
pause "$seconds"
declare -A used=()
for name in "${names[@]}" without; do used[$name]=$(($(ticks_of "${NODE_PID[$name]}") - ${before[$name]})); done
bluetoothd_used=$(($(ticks_of "$BLUETOOTHD_PID") - bluetoothd_before))
everybody_is_quiet || fail "somebody was not quiet"
worth=$(((worth + $(core_us)) / 2))
figure idle_cores_here_in_one_outside_tenths $((worth * 10 / HOST_CORE_US))


# A tick is 10 ms; in millionths of a core: here as measured, and of one outside, where the same work takes less.
# The goal for memory is 2 MB; two starts of one program differ by up to 1 MB, so that is not what fails.
# The one without is asked what the others were asked: answering takes memory for the first time.
get without /v1/status && get without /v1/links || fail "the node without Bluetooth does not answer"
memory_without=$(memory_of without)
for name in "${names[@]}" without; do
  here=$((${used[$name]} * 10000 / seconds))
  outside=$((here * HOST_CORE_US / worth))
  more=$(($(memory_of "$name") - memory_without))
  figure "idle_cpu_ppm_here_$name" "$here"
  figure "idle_cpu_ppm_outside_$name" "$outside"
  figure "idle_memory_more_kib_$name" "$more"
  ((outside <= 10000)) || too_much+=" $name:$outside"
  ((more <= 3072)) || too_big+=" $name:$more"
done
figure idle_memory_kib_without "$memory_without"
figure idle_cpu_ppm_here_bluetoothd $((bluetoothd_used * 10000 / seconds))
[[ -z ${too_much:-} ]] || fail "more than 10,000 millionths of a core:$too_much"
[[ -z ${too_big:-} ]] || fail "more than 3072 KiB beside a node without Bluetooth:$too_big"
