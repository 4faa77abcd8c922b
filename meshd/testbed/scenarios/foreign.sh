# A stranger's GATT client writes garbage, oversize and floods into each of two nodes, stalls, and holds slots: the pair goes on.
# limit: 700
# needs: meshd meshctl probe
SERVICE=0b6f4a2e-6d73-4f1c-9a57-3c1de0c0a101

air_up one 3
start_bluetoothd
enemy=$(adapter_of one 3)
start_node a --adapter "$(adapter_of one 1)" --log "$LOG"
start_node b --adapter "$(adapter_of one 2)" --log "$LOG"
post a "before"
wait_for 'has b before' 20
memory_before=$(($(memory_of a) + $(memory_of b)))
slowest_ms=0
for n in 1 2; do
  victim=$(address_of "$(adapter_of one $n)")
  "$probe" attack "$enemy" "$victim" "$SERVICE" 300 >"$LOGS/attack$n.json" 2>>"$LOGS/attack.log" &
  attack=$!
  round=0
  while kill -0 "$attack" 2>/dev/null; do
    bluetoothd_is_up || fail "bluetoothd has crashed"
    round=$((round + 1))
    post a "there $n $round"
    wait_for "has b 'there $n $round'" 30
    ((slowest_ms >= WAITED_MS)) || slowest_ms=$WAITED_MS
    post b "back $n $round"
    wait_for "has a 'back $n $round'" 30
    ((slowest_ms >= WAITED_MS)) || slowest_ms=$WAITED_MS
    pause 2
  done
  wait "$attack" || fail "the attack failed: $(tail -1 "$LOGS/attack.log")"
  say "attack $n: $(<"$LOGS/attack$n.json"), $round rounds between the pair"
  jq -e '.garbage_writes > 0 and .oversize_writes + .oversize_refused > 0 and .flood_writes > 0 and .stalls > 0
    and .holds > 0 and all(.held_s[]; . < 40)' "$LOGS/attack$n.json" >/dev/null \
    || fail "not every attack took place, or a connection could be held"
done
for name in a b; do node_is_up "$name" || fail "$name ended"; done
figure foreign_slowest_ms "$slowest_ms"
figure foreign_memory_grown_kib $(($(memory_of a) + $(memory_of b) - memory_before))
# Each round has stored two messages; an attack that makes the nodes keep what it writes grows them by more.
(($(memory_of a) + $(memory_of b) - memory_before < 16384)) || fail "the nodes have grown by 16 MiB"
