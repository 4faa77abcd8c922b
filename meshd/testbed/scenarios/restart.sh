# bluetoothd is killed again and again: the nodes are back by themselves, nothing is lost, doubled or leaked.
# limit: 600
# needs: meshd meshctl

# Descriptors that a node holds.
descriptors() { ls "/proc/${NODE_PID[$1]}/fd" | wc -l; }

ble_is() { ctl "$1" --json status | jq -e --arg is "$2" '[.transports[] | select(.kind == "ble")] | all(.state == $is)'; }

log=(--log info,meshd=debug)
air_up one
start_bluetoothd
start_node a --adapter "$(adapter_of one 1)" "${log[@]}"
start_node b --adapter "$(adapter_of one 2)" "${log[@]}"
send a "round 0" >/dev/null
wait_for 'has b "round 0"' 30
before=$(($(descriptors a) + $(descriptors b)))

for ((round = 1; round <= ${ROUNDS:-5}; round++)); do
  kill_bluetoothd
  wait_for 'ble_is a down && ble_is b down' 10
  send a "round $round" >/dev/null
  send b "back $round" >/dev/null
  start_bluetoothd
  wait_for 'ble_is a up && ble_is b up' 10
  up_ms=$WAITED_MS
  wait_for "has b 'round $round' && has a 'back $round'" 30
  say "round $round: up after $up_ms ms, swapped after $WAITED_MS ms more"
  figure restart_up_ms "$up_ms"
  figure restart_swap_ms "$WAITED_MS"
done
for ((round = 0; round <= ${ROUNDS:-5}; round++)); do
  has b "round $round" || fail "round $round is gone or doubled"
done
wait_for "(( \$(descriptors a) + \$(descriptors b) <= before + 4 ))" 20
figure descriptors_more $(($(descriptors a) + $(descriptors b) - before))
