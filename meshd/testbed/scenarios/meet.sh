# Two nodes find each other over Bluetooth and swap what one wrote before the other was there.
# limit: 120
# needs: meshd meshctl
air_up one
start_bluetoothd
start_node a --adapter "$(adapter_of one 1)" --log "$LOG"
id=$(send a "hello from a")
started=$(now_ms)
start_node b --adapter "$(adapter_of one 2)" --log "$LOG"
wait_for 'has b "hello from a"' 20
meet_ms=$(($(now_ms) - started))
figure meet_ms "$meet_ms"
wait_for "[[ \$(status_of a $id) == synced ]]" 5

say "the other way, on the link that is up"
id=$(send b "hello from b")
wait_for 'has a "hello from b"' 5
figure push_ms "$WAITED_MS"
wait_for "[[ \$(status_of b $id) == synced ]]" 5
for name in a b; do
  ctl "$name" --json status >"$LOGS/$name-status.json"
  ctl "$name" --json links >"$LOGS/$name-links.json"
  jq -se 'flatten | any(.kind == "ble" and .peer != null)' "$LOGS/$name-links.json" >/dev/null \
    || fail "$name shows no link: $(<"$LOGS/$name-links.json")"
  # The emulated controllers do not know how strong a signal is, and say 127.
  jq -se 'flatten | all(.rssi == null)' "$LOGS/$name-links.json" >/dev/null || fail "$name shows a signal's strength that nobody knows"
done
figure ble_memory_kib "$(memory_of a)"
((meet_ms <= 5000)) || fail "met after more than 5 s"
