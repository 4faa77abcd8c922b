# What a node costs that advertises and listens among five quiet neighbours: processor time and memory, in figures.
# limit: 300
# needs: meshd meshctl
ticks_of() { awk '{ print $14 + $15 }' "/proc/${NODE_PID[$1]}/stat"; }

start_node without --no-ble
air_up one 6
start_bluetoothd
names=(a b c d e f)
for n in {0..5}; do start_node "${names[n]}" --adapter "$(adapter_of one $((n + 1)))" --log "$LOG"; done
everybody_is_quiet() {
  local name
  for name in "${names[@]}"; do (($(number "$name" /v1/status bundles) == $(number a /v1/status bundles))) || return 1; done
}
wait_for everybody_is_quiet 120
before=$(ticks_of a) before_without=$(ticks_of without)
stays 'node_is_up a' 60
# A tick is 10 ms.
figure idle_cpu_permille $((($(ticks_of a) - before) * 10 / 60))
figure idle_cpu_without_permille $((($(ticks_of without) - before_without) * 10 / 60))
figure idle_memory_kib "$(memory_of a)"
figure idle_memory_without_kib "$(memory_of without)"
