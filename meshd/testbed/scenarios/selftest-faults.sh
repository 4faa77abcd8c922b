# The bed's own faults work: bluetoothd killed, hung and refused, adapters blocked, off and unplugged, all undone.
# limit: 180
# needs: probe

serve() {
  : >"$LOGS/serve.json"
  "$probe" serve "$1" >"$LOGS/serve.json" 2>>"$LOGS/serve.log" &
  SERVER=$!
  wait_for "[[ -s $LOGS/serve.json ]]" $SETUP_S
}

# meet PERIPHERAL CENTRAL: a fresh server is found, connected to and answers.
meet() {
  serve "$1"
  timeout 60 "$probe" measure "$2" --only meet >"$LOGS/meet.json" 2>>"$LOGS/measure.log" \
    || fail "no meeting: $(<"$LOGS/measure.log")"
  say "met in $(jq '.discover_ms + .connect_ms + .resolve_ms | round' "$LOGS/meet.json") ms"
  kill_and_reap "$SERVER" TERM
}

air_up one
start_bluetoothd
btmon_start
a=$(adapter_of one 1) b=$(adapter_of one 2)
meet "$a" "$b"

say "bluetoothd killed"
kill_bluetoothd
wait_for "! bluez_answers" 5
start_bluetoothd
meet "$a" "$b"

say "bluetoothd hung"
hang_bluetoothd
if bluez_answers 2>/dev/null; then fail "bluetoothd answers while stopped"; fi
if bluetoothd_spins 2>/dev/null; then fail "a stopped bluetoothd is taken for one that goes round in circles"; fi
# Reads nothing for ever, as bluetoothd does then.
while :; do read -r _ || true; done </dev/null &
circling=$!
bluetoothd_spins "$circling" 2>/dev/null || fail "what goes round in circles is not seen"
kill_and_reap "$circling" KILL
resume_bluetoothd
wait_for bluez_answers 5

say "adapter blocked, then switched off"
block "$a"
wait_for "[[ \$(adapter_property $a Powered) == false ]]" 5
if power "$a" on 2>>"$LOGS/power.log"; then fail "a blocked adapter was powered"; fi
unblock "$a"
wait_for "power $a on" 5
power "$a" off
wait_for "[[ \$(adapter_property $a Powered) == false ]]" 5
power "$a" on

say "adapters unplugged during a transfer, then plugged in again"
serve "$a"
"$probe" measure "$b" --bytes 16777216 >"$LOGS/cut.json" 2>"$LOGS/cut.log" &
cut=$!
wait_for "grep -q 'inbox: socket' $LOGS/serve.log" 20
air_down one
wait_for "! kill -0 $cut" 20
[[ -s $LOGS/cut.log ]] || fail "the transfer did not notice"
kill_and_reap "$SERVER" TERM
bluez_answers || fail "bluetoothd went away with its adapters"
air_up one
wait_for bluetoothd_is_ready $SETUP_S
meet "$(adapter_of one 1)" "$(adapter_of one 2)"

say "two airs do not hear each other"
air_up two
wait_for bluetoothd_is_ready $SETUP_S
serve "$(adapter_of one 1)"
if timeout 10 "$probe" measure "$(adapter_of two 1)" --only meet >/dev/null 2>&1; then fail "heard through"; fi
kill_and_reap "$SERVER" TERM
meet "$(adapter_of two 1)" "$(adapter_of two 2)"

say "no bluetoothd"
stop_bluetoothd
if timeout 10 "$probe" serve "$(adapter_of one 1)" 2>"$LOGS/no-bluez.log"; then fail "served without BlueZ"; fi
# With BlueZ not installed the bus says ServiceUnknown; installed but with no systemd to start it, Spawn.ChildExited.
grep -Eq 'ServiceUnknown|ChildExited' "$LOGS/no-bluez.log" || fail "another error: $(<"$LOGS/no-bluez.log")"
