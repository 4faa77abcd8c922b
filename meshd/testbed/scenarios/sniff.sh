# What is on the air names nobody: two epochs of two nodes have no four bytes in common in their beacons, and no text.
# limit: 120
# needs: meshd meshctl probe

# epoch NAME: both nodes start anew, swap a message while btmon listens, and stop.
epoch() {
  btmon_start "$1"
  start_node a --adapter "$(adapter_of one 1)" --log "$LOG"
  start_node b --adapter "$(adapter_of one 2)" --log "$LOG"
  send a "plain words of epoch $1" >/dev/null
  wait_for "has b 'plain words of epoch $1'" 20
  stop_node a
  stop_node b
  btmon_stop
  air_report "$1" >"$LOGS/$1.json"
  if grep -qa 'plain words' "$LOGS/$1.btsnoop"; then fail "a message's text is on the air"; fi
}

# beacons NAME: what follows the service's id in each advertisement, as a JSON list.
beacons() {
  jq -c '[.[].adverts[] | capture("a1c0e01d3c579a1c4f736d2e4a6f0b(?<beacon>[0-9a-f]{16})").beacon]' "$LOGS/$1.json"
}

air_up one
# Both nodes start anew: see docs/ble.md, "What BlueZ does to us", 12.
bluetoothd_conf $'[GATT]\nCache = no'
start_bluetoothd
epoch first
epoch second
say "beacons: $(beacons first) and $(beacons second)"
jq -en --argjson first "$(beacons first)" --argjson second "$(beacons second)" '
  def windows: [range(0; length - 6; 2) as $at | .[$at:$at + 8]];
  ($first | length) >= 2 and ($second | length) >= 2
    and ([$first[] | windows[]] - ([$first[] | windows[]] - [$second[] | windows[]]) == [])' >/dev/null \
  || fail "the epochs have something in common"
# No name and no list of services: flags and the beacon are all there is.
jq -e '[.[].adverts[] | length] | all(. == 58)' "$LOGS/first.json" >/dev/null || fail "an advertisement has more than its beacon"
