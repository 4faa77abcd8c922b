# Links go over L2CAP where both sides can and over GATT where one can't, and `links` says which; the rate of each.
# limit: 300
# needs: meshd meshctl

# transfer WAY: 64 messages of 16 kB that A wrote while B was away; B's arguments follow.
transfer() {
  local way=$1 n before started
  shift
  for n in {1..64}; do post a "$n $way $filling" || fail "message $n was not taken"; done
  start_node b --adapter "$(adapter_of one 2)" --log "$LOG" "$@"
  before=$(number b /v1/status received)
  wait_for "(( \$(number b /v1/status received) > before ))" 60
  started=$(now_ms)
  before=$(number b /v1/status received)
  get a /v1/links
  [[ $(answer_has "\"path\":\"$way\"") == 1 ]] || fail "the link does not go over $way: $ANSWER"
  total=$((total + 64))
  wait_for "(( \$(number b /v1/status received) == total ))" 120
  figure "${way}_bytes_per_s" $(((total - before) * 16000 * 1000 / ($(now_ms) - started)))
}

printf -v filling '%16000s' ''
filling=${filling// /x}
total=0
air_up one
start_bluetoothd
start_node a --adapter "$(adapter_of one 1)" --log "$LOG"
transfer l2cap
stop_node b
wait_for '[[ $(links_of a) == 0 ]]' 10
printf '[bluetooth]\nl2cap = false\n' >"$RUN/gatt.toml"
transfer gatt --config "$RUN/gatt.toml"
