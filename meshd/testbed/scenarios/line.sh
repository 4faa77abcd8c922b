# A, B and C in a row: A and C never hear each other, and swap what they write through B.
# limit: 180
# needs: meshd meshctl
air_up one
air_up two
start_bluetoothd
start_node a --adapter "$(adapter_of one 1)" --log "$LOG"
start_node b --adapter "$(adapter_of one 2)" --adapter "$(adapter_of two 1)" --log "$LOG"
start_node c --adapter "$(adapter_of two 2)" --log "$LOG"
send a "from one end" >/dev/null
send c "from the other end" >/dev/null
wait_for 'has c "from one end"' 20
figure line_ms "$WAITED_MS"
wait_for 'has a "from the other end"' 20

say "on the links that are up"
[[ $(links_of b) == 2 ]] || fail "B has $(links_of b) links"
send a "once more" >/dev/null
wait_for 'has c "once more"' 10
figure line_push_ms "$WAITED_MS"
