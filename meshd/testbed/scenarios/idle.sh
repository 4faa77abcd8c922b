# What a node costs that advertises and listens among five quiet neighbours: processor time and memory, in figures.
# limit: 400
# needs: meshd meshctl
ticks_of() { awk '{ print $14 + $15 }' "/proc/${NODE_PID[$1]}/stat"; }

names=(a b c d e f)
everybody_is_quiet() {
  local name
  for name in "${names[@]}"; do
    (($(number "$name" /v1/status bundles) == $(number a /v1/status bundles) && $(links_of "$name") == 0)) || return 1
  done
}

# The same node without Bluetooth, and a state directory of its own, alone.
start_node without --no-ble
air_up one 6
start_bluetoothd
for n in {0..5}; do start_node "${names[n]}" --adapter "$(adapter_of one $((n + 1)))" --log warn; done
wait_for everybody_is_quiet 150
before=$(ticks_of a) before_without=$(ticks_of without)
stays 'node_is_up a' 60
# A tick is 10 ms, so 6 of them in a minute are a tenth of a per cent.
figure idle_cpu_permille $((($(ticks_of a) - before) / 6))
figure idle_cpu_without_permille $((($(ticks_of without) - before_without) / 6))
figure idle_memory_kib "$(memory_of a)"
figure idle_memory_without_kib "$(memory_of without)"
everybody_is_quiet || fail "somebody was not quiet"
