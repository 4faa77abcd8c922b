# What a node costs that advertises and listens among five quiet neighbours: processor time and memory, in figures.
# limit: 500
# needs: meshd meshctl
ticks_of() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }

names=(a b c d e f)
names=("${names[@]:0:$((${NEIGHBOURS:-5} + 1))}")
others=("${names[@]:1}")
start_all() {
  local n
  for n in "${!names[@]}"; do start_node "${names[n]}" --adapter "$(adapter_of one $((n + 1)))" --log info; done
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

# freeze NAME hciX: it goes on advertising, since bluetoothd does that, and listens no more. All nodes here share one bus, so each is
# told of what all adapters hear; with the neighbours' adapters deaf, A is told of what its own hears, as on a machine of its own.
freeze() {
  wait_for "[[ \$(adapter_property $2 Discovering) == false ]] && kill -STOP ${NODE_PID[$1]} && [[ \$(adapter_property $2 Discovering) == false ]] || thaw $1" 60
}
thaw() {
  kill -CONT "${NODE_PID[$1]}"
  return 1
}

# The same node without Bluetooth, with a state directory of its own.
start_node without --no-ble --log warn
bundles=$((${#names[@]} * $(number without /v1/status bundles)))
air_up one "${#names[@]}"
start_bluetoothd
start_all
wait_for 'pause 1; everybody_has_the_same' 120
# Links stay where they are; who starts with what all hold makes none, unless it waits for a confirmation.
for ((start = 1; ; start++)); do
  pause 5
  for name in "${names[@]}"; do stop_node "$name"; done
  start_all
  if try_for everybody_is_quiet 30; then break; fi
  ((start < 4)) || fail "somebody is never quiet"
done
for n in "${!others[@]}"; do freeze "${others[n]}" "$(adapter_of one $((n + 2)))"; done
pause 10
declare -A before=()
for name in a without; do before[$name]=$(ticks_of "${NODE_PID[$name]}"); done
bluetoothd_before=$(ticks_of "$BLUETOOTHD_PID")
pause 60
# A tick is 10 ms, so 6 of them in a minute are a thousandth.
for name in a without; do
  figure "idle_cpu_permille_$name" $((($(ticks_of "${NODE_PID[$name]}") - ${before[$name]}) / 6))
  figure "idle_memory_kib_$name" "$(memory_of "$name")"
done
figure idle_cpu_permille_bluetoothd $((($(ticks_of "$BLUETOOTHD_PID") - bluetoothd_before) / 6))
for name in "${others[@]}"; do
  thaw "$name" || true
  figure "idle_memory_kib_$name" "$(memory_of "$name")"
done
wait_for everybody_is_quiet 20
(($(number a /v1/status bundles) == bundles)) || fail "somebody was not quiet"
