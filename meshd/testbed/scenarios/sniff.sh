# What is on the air names nobody: two epochs of two nodes have nothing in common that other nodes have not too, and no text.
# limit: 480
# needs: meshd meshctl probe

# epoch NAME NODE NODE: both nodes start anew, swap messages while btmon listens, and stop.
epoch() {
  local name=$1 one=$2 two=$3
  btmon_start "$name"
  start_node "$one" --adapter "$(adapter_of one 1)" --log "$LOG"
  start_node "$two" --adapter "$(adapter_of one 2)" --log "$LOG"
  post "$one" "plain words of epoch $name"
  post "$two" "canary in epoch $name"
  wait_for "has $two 'plain words of epoch $name' && has $one 'canary in epoch $name'" 40
  stop_node "$one"
  stop_node "$two"
  btmon_stop
  air_report "$name" >"$LOGS/$name.json"
  if grep -qa -e 'plain words' -e canary "$LOGS/$name.btsnoop"; then fail "a message's text is on the air"; fi
}

# beacons NAME: what follows the service's id in each advertisement, as a JSON list.
beacons() {
  jq -c '[.[].adverts[] | capture("a1c0e01d3c579a1c4f736d2e4a6f0b(?<beacon>[0-9a-f]{16})").beacon]' "$LOGS/$1.json"
}

# observed NAME NODE NODE: an epoch of which advertisements were captured. Nodes that bluetoothd knows from before may be connected
# without one; such an epoch shows nothing and is repeated.
observed() {
  local try
  for try in 1 2 3; do
    epoch "$@"
    if (($(beacons "$1" | jq length) >= 2)); then return; fi
    say "epoch $1, try $try: fewer than two advertisements were captured"
  done
  fail "epoch $1: no advertisements were captured in three tries"
}

air_up one
# Both nodes start anew: see docs/ble.md, "What BlueZ does to us", 12. Without EATT all that is said in a channel of its
# own is said by a node.
bluetoothd_conf $'[GATT]\nCache = no\nChannels = 1'
start_bluetoothd
observed first a b
observed second a b
say "beacons: $(beacons first) and $(beacons second)"
jq -en --argjson first "$(beacons first)" --argjson second "$(beacons second)" '
  def windows: [range(0; length - 6; 2) as $at | .[$at:$at + 8]];
  ($first | length) >= 2 and ($second | length) >= 2
    and ([$first[] | windows[]] - ([$first[] | windows[]] - [$second[] | windows[]]) == [])' >/dev/null \
  || fail "the epochs have something in common"
# No name and no list of services: flags and the beacon are all there is.
jq -e '[.[].adverts[] | length] | all(. == 58)' "$LOGS/first.json" >/dev/null || fail "an advertisement has more than its beacon"

# What the protocol repeats depends on who calls: other nodes on the same adapters show it. What would tell these two from others stays, however many others there are.
others=()
for n in 1 2 3; do
  epoch "others$n" "c$n" "d$n"
  others+=("$LOGS/others$n.btsnoop")
  "$probe" compare "$LOGS/first.btsnoop" "$LOGS/second.btsnoop" "${others[@]}" >"$LOGS/common.json"
  say "compared with $n: $(jq -c '{windows, constant, common: (.common | length)}' "$LOGS/common.json")"
  if jq -e '.windows > 1000 and .common == []' "$LOGS/common.json" >/dev/null; then break; fi
  ((n < 3)) || fail "what both epochs have and other nodes have not: $(jq -c '.common[:5]' "$LOGS/common.json")"
done
# A comparison that finds nothing must be able to find something.
"$probe" compare "$LOGS/first.btsnoop" "$LOGS/first.btsnoop" "${others[@]}" | jq -e '.common != []' >/dev/null \
  || fail "the comparison does not see what is repeated"
