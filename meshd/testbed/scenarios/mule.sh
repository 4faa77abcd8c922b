# A meets B; later, out of A's reach, B meets C: C gets what A wrote.
# limit: 120
# needs: meshd meshctl
air_up one
# C's controller has the address that A's had, which no two machines have: what bluetoothd remembers of A's services is
# not to be taken for C's (docs/ble.md, "What BlueZ does to us", 12).
bluetoothd_conf $'[GATT]\nCache = no'
start_bluetoothd
start_node a --adapter "$(adapter_of one 1)" --log "$LOG"
start_node b --adapter "$(adapter_of one 2)" --log "$LOG"
carrier=$(adapter_of one 2)
send a "carry this" >/dev/null
wait_for 'has b "carry this"' 20
send a "and this, just before they part" >/dev/null
wait_for 'has b "and this, just before they part"' 10
stop_node a
air_down one
wait_for '[[ $(links_of b) == 0 ]]' 10

say "later, elsewhere"
air_up two
[[ $(adapter_of two 2) == "$carrier" ]] || fail "the mule's adapter is $(adapter_of two 2) now, not $carrier"
wait_for bluetoothd_is_ready "$SETUP_S"
wait_for 'ble_is b up' 10
start_node c --adapter "$(adapter_of two 1)" --log "$LOG"
wait_for 'has c "carry this" && has c "and this, just before they part"' 20
figure mule_ms "$WAITED_MS"
