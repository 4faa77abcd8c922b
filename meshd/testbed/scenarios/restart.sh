# bluetoothd is killed again and again during traffic: nodes are back within 3 s, nothing is lost, doubled or leaked.
# limit: 2400
# needs: meshd meshctl

# Descriptors that a node holds.
descriptors() { ls "/proc/${NODE_PID[$1]}/fd" | wc -l; }

back() { has b "round $round" && has a "back $round"; }

air_up one
start_bluetoothd
start_node a --adapter "$(adapter_of one 1)" --log "$LOG"
start_node b --adapter "$(adapter_of one 2)" --log "$LOG"
round=0
send a "round 0" >/dev/null
send b "back 0" >/dev/null
wait_for back 20
before=$(($(descriptors a) + $(descriptors b)))
memory_before=$(($(memory_of a) + $(memory_of b)))

slowest_ms=0
for ((round = 1; round <= ${ROUNDS:-20}; round++)); do
  kill_bluetoothd
  wait_for 'ble_is a down && ble_is b down' 5
  send a "round $round" >/dev/null
  send b "back $round" >/dev/null
  start_bluetoothd
  wait_for 'ble_is a up && ble_is b up' 10
  up_ms=$WAITED_MS
  wait_for back 20
  say "round $round: up after $up_ms ms, swapped after $WAITED_MS ms more"
  ((slowest_ms >= up_ms)) || slowest_ms=$up_ms
  figure restart_swap_ms "$WAITED_MS"
done
for ((round = 0; round <= ${ROUNDS:-20}; round++)); do
  back || fail "round $round is gone or doubled"
done
# A link's own descriptors come and go with who dialled, and bluer takes up to 30 s to leave the bus; a leak would be one or more
# for each restart.
wait_for '(( $(descriptors a) + $(descriptors b) <= before + 4 ))' 60
figure restart_descriptors_grown $(($(descriptors a) + $(descriptors b) - before))
figure restart_memory_grown_kib $(($(memory_of a) + $(memory_of b) - memory_before))
figure restart_slowest_up_ms "$slowest_ms"
((slowest_ms <= 3000)) || fail "back after more than 3 s"
