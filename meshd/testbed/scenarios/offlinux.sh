# A node that can only dial, as on macOS and Windows (btleplug), meets one of the usual kind, and again after each cut.
# limit: 300
# needs: meshd meshd-btleplug meshctl
air_up one
# The usual node starts anew, and the other can't be called: see docs/ble.md, "What BlueZ does to us", 12.
bluetoothd_conf $'[GATT]\nCache = no'
start_bluetoothd
usual=$(adapter_of one 1)
dialler=$(adapter_of one 2)
# btleplug switches nothing on, and the other node switches on its own.
wait_for 'power "$dialler" on' 10
[[ $("$bin/meshd-btleplug" --version) == *"can't be dialled"* ]] || fail "--version does not say which kind it is"
start_node usual --adapter "$usual" --log "$LOG"
id=$(send usual "before the meeting")
started=$(now_ms)
NODE_PROGRAM=meshd-btleplug start_node dialler --adapter "$dialler" --log "$LOG"
wait_for 'has dialler "before the meeting"' 20
figure offlinux_meet_ms $(($(now_ms) - started))
wait_for "[[ \$(status_of usual $id) == synced ]]" 5

say "the other way, on the link that is up; and more than one window of it"
id=$(send dialler "back")
wait_for 'has usual "back"' 5
figure offlinux_push_ms "$WAITED_MS"
wait_for "[[ \$(status_of dialler $id) == synced ]]" 5
long=$(head -c 12000 /dev/zero | tr '\0' x)
for n in 1 2 3 4 5 6; do
  send dialler "there $n $long" >/dev/null
  send usual "here $n $long" >/dev/null
done
all_long() { for n in 1 2 3 4 5 6; do has usual "there $n $long" && has dialler "here $n $long" || return 1; done; }
wait_for all_long 60
figure offlinux_144_kb_ms "$WAITED_MS"

say "what it says of itself"
get dialler /v1/status
[[ $ANSWER == *"can't be dialled"* ]] || fail "its status does not say that it can't be dialled: $ANSWER"
ctl dialler doctor >"$LOGS/doctor.txt" || true
grep -q "can't be dialled" "$LOGS/doctor.txt" || fail "the doctor does not say that it can't be dialled"
ctl dialler --json links >"$LOGS/links.json"
jq -se 'flatten | any(.kind == "ble" and .peer != null and .path == "gatt")' "$LOGS/links.json" >/dev/null \
  || fail "no link over GATT: $(<"$LOGS/links.json")"

meet_again() { # meet_again TEXT: both swap something that was written since
  send usual "usual: $1" >/dev/null
  send dialler "dialler: $1" >/dev/null
  wait_for "has dialler 'usual: $1' && has usual 'dialler: $1'" 40
  say "$1: swapped after $WAITED_MS ms"
  figure offlinux_again_ms "$WAITED_MS"
}

say "the usual node ends and comes back"
stop_node usual
# Its good-bye takes 0.1 s. If that is lost, the dialler asks after 10 s, and is answered within 5.
wait_for '[[ $(links_of dialler) == 0 ]]' 20
start_node usual --adapter "$usual" --log "$LOG"
meet_again "after the neighbour was restarted"

say "the usual node is killed, of which nobody tells, and comes back"
stop_node usual KILL
wait_for '[[ $(links_of dialler) == 0 ]]' 20
figure offlinux_killed_seen_ms "$WAITED_MS"
start_node usual --adapter "$usual" --log "$LOG"
meet_again "after the neighbour was killed"

say "the dialler ends and comes back"
stop_node dialler
wait_for '[[ $(links_of usual) == 0 ]]' 10
NODE_PROGRAM=meshd-btleplug start_node dialler --adapter "$dialler" --log "$LOG"
meet_again "after it was restarted"

say "its adapter is switched off and on"
power "$dialler" off
wait_for 'ble_is dialler down' 10
power "$dialler" on
wait_for 'ble_is dialler up' 10
meet_again "after the adapter was off"

say "bluetoothd is killed"
kill_bluetoothd
wait_for 'ble_is dialler down' 15
start_bluetoothd
wait_for 'power "$dialler" on' 10
wait_for 'ble_is dialler up && ble_is usual up' 20
meet_again "after bluetoothd was killed"
for name in usual dialler; do node_is_up "$name" || fail "$name ended"; done
