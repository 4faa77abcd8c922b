# Two neighbours call one node at the same moment, with EATT off: each gets a lane, and all have everything, once each.
# limit: 200
# needs: meshd meshd-btleplug meshctl
air_up one 3
# One ATT channel for all that a connection carries; BlueZ's default is three.
bluetoothd_conf $'[GATT]\nChannels = 1'
start_bluetoothd
callers=(b c)
for n in 2 3; do wait_for 'power "$(adapter_of one $n)" on' 10; done
start_node a --adapter "$(adapter_of one 1)" --log "$LOG"
wait_for 'ble_is a up' 20
# More than a window each, so that the sockets of both lanes are in use at once. Who can't be called has to call.
long=$(head -c 12000 /dev/zero | tr '\0' x)
for n in 1 2 3; do post a "a $n $long" || fail "message $n was not taken"; done
for n in 0 1; do
  NODE_PROGRAM=meshd-btleplug start_node "${callers[n]}" --adapter "$(adapter_of one $((n + 2)))" --log "$LOG"
  for m in 1 2 3; do post "${callers[n]}" "${callers[n]} $m $long" || fail "message $m was not taken"; done
done
wait_for '(($(links_of a) == 2))' 40
get a /v1/links
[[ $(answer_has '"path":"gatt"') == 2 ]] || fail "not two links over GATT: $ANSWER"

all_of() { # all_of NAME: it has what all three wrote
  local from n
  for from in a b c; do for n in 1 2 3; do has "$1" "$from $n $long" || return 1; done; done
}
wait_for 'all_of a && all_of b && all_of c' 60
figure callers_all_ms "$WAITED_MS"
get a /v1/links
[[ $(answer_has '"kind":"ble"') == 2 ]] || fail "a link was lost on the way: $ANSWER"
