# Neighbours that hold the same stay apart: no connection in 60 s, and one as soon as something is written.
# limit: 180
# needs: meshd meshctl probe
air_up one
# Both nodes start anew: see docs/ble.md, "What BlueZ does to us", 12.
bluetoothd_conf $'[GATT]\nCache = no'
start_bluetoothd
start_node a --adapter "$(adapter_of one 1)" --log "$LOG"
start_node b --adapter "$(adapter_of one 2)" --log "$LOG"
send a "known to both" >/dev/null
wait_for 'has b "known to both"' 20
wait_for '[[ $(number a /v1/status synced) == 1 ]]' 10

say "both start again, with what they hold"
stop_node a
stop_node b
btmon_start
start_node a --adapter "$(adapter_of one 1)" --log "$LOG"
start_node b --adapter "$(adapter_of one 2)" --log "$LOG"
wait_for 'ble_is a up && ble_is b up' 20
stays '[[ $(links_of a) == 0 ]]' 60
btmon_stop
air_report >"$LOGS/air.json"
jq -e 'all(.connections == 0) and any(.adverts_heard > 0)' "$LOGS/air.json" >/dev/null \
  || fail "somebody connected, or nobody listened: $(<"$LOGS/air.json")"

send a "new to one" >/dev/null
wait_for 'has b "new to one"' 20
figure quiet_to_news_ms "$WAITED_MS"
