# A stranger's GATT client writes garbage, oversize and floods into each of two nodes, stalls, and holds slots: the pair goes on.
# limit: 900
# needs: meshd meshctl probe
SERVICE=0b6f4a2e-6d73-4f1c-9a57-3c1de0c0a101
# Such a client can make bluetoothd 5.66 crash, or go round in circles (docs/ble.md, 16 and 17). The nodes can't help that, but
# are to go on by themselves when it is started again; then the attack is begun anew.
ENDS_MAX=2

# attack N: the N-th node is attacked in every way, while the pair writes to each other; 1 if that ended bluetoothd.
attack() {
  "$probe" attack "$enemy" "$(address_of "$(adapter_of one "$1")")" "$SERVICE" 300 >"$LOGS/attack$1.json" 2>>"$LOGS/attack.log" &
  attacker=$!
  while kill -0 "$attacker" 2>/dev/null; do
    round=$((round + 1))
    hand_over a b && hand_over b a || return 1
    pause 2
  done
  wait "$attacker" || fail "the attack failed: $(tail -1 "$LOGS/attack.log")"
}

# hand_over FROM TO: a message between the pair; 1 if bluetoothd has ended meanwhile, or goes round in circles.
hand_over() {
  post "$1" "from $1 $round" || fail "$1 takes no message"
  if try_for "has $2 'from $1 $round'" 30; then
    ((slowest_ms >= WAITED_MS)) || slowest_ms=$WAITED_MS
    return 0
  fi
  if bluetoothd_is_up && ! bluetoothd_spins; then fail "not within 30 s: 'from $1 $round' in $2"; fi
  return 1
}

# begin_again: ends the attacker and what is left of bluetoothd, and starts that.
begin_again() {
  ends=$((ends + 1))
  say "bluetoothd was ended by the attack, for the ${ends}. time"
  ((ends <= ENDS_MAX)) || fail "too often"
  kill_and_reap "$attacker" KILL 2>/dev/null || true
  kill_and_reap "$BLUETOOTHD_PID" KILL 2>/dev/null || true
  start_bluetoothd
  wait_for 'ble_is a up && ble_is b up' 20
  post a "again $ends"
  wait_for "has b 'again $ends'" 60
}

air_up one 3
start_bluetoothd
enemy=$(adapter_of one 3)
start_node a --adapter "$(adapter_of one 1)" --log "$LOG"
start_node b --adapter "$(adapter_of one 2)" --log "$LOG"
post a "before"
wait_for 'has b before' 20
memory_before=$(($(memory_of a) + $(memory_of b)))
slowest_ms=0 round=0 ends=0
for n in ${VICTIMS:-1 2}; do
  until attack "$n"; do begin_again; done
  say "attack $n: $(<"$LOGS/attack$n.json"), $round rounds between the pair"
  jq -e '.garbage_writes > 0 and .oversize_writes + .oversize_refused > 0 and .flood_writes > 0 and .stalls > 0
    and .holds > 0 and all(.held_s[]; . < 40)' "$LOGS/attack$n.json" >/dev/null \
    || fail "not every attack took place, or a connection could be held"
done
for name in a b; do node_is_up "$name" || fail "$name ended"; done
figure foreign_slowest_ms "$slowest_ms"
figure foreign_bluetoothd_ended "$ends"
figure foreign_memory_grown_kib $(($(memory_of a) + $(memory_of b) - memory_before))
# Each round has stored two messages; an attack that makes the nodes keep what it writes grows them by more.
(($(memory_of a) + $(memory_of b) - memory_before < 16384)) || fail "the nodes have grown by 16 MiB"
