# Two controllers meet; the rates of a raw bluer program over GATT and L2CAP, and what a capture sees of it.
# limit: 240
# needs: probe
air_up one
start_bluetoothd
"$probe" serve "$(adapter_of one 1)" >"$LOGS/serve.json" 2>"$LOGS/serve.log" &
wait_for "[[ -s $LOGS/serve.json ]]" $SETUP_S

say "rates, without a capture: btmon takes most of an emulated core"
"$probe" measure "$(adapter_of one 2)" --bytes "${BYTES:-1048576}" >"$LOGS/measure.json" 2>"$LOGS/measure.log" \
  || fail "the probe says: $(<"$LOGS/measure.log")"
while IFS=$'\t' read -r name value; do figure "raw_$name" "$value"; done \
  < <(jq -r 'to_entries[] | [.key, (.value | tojson)] | @tsv' "$LOGS/measure.json")

say "a meeting, captured"
btmon_start
"$probe" measure "$(adapter_of one 2)" --only meet >"$LOGS/meet.json" 2>>"$LOGS/measure.log" \
  || fail "the probe says: $(<"$LOGS/measure.log")"
btmon_stop
air_report >"$LOGS/air.json"
jq -e 'length == 2 and all(.connections == 1 and .disconnections == 1 and .acl_sent_bytes > 0)' "$LOGS/air.json" \
  >/dev/null || fail "the capture does not show one connection: $(<"$LOGS/air.json")"
