# What the daemon adds to a raw program on the same path: goodput, time to the first bundle, bytes on the air. Figures.
# limit: 600
# needs: meshd meshctl probe

# transfer WAY: 64 messages of 16 kB, 1 MiB, that A wrote while B was away; B's arguments follow.
transfer() {
  local way=$1 n before started
  shift
  for n in {1..65}; do post a "$n $way $filling" || fail "message $n was not taken"; done
  start_node b --adapter "$(adapter_of one 2)" --log "$LOG" "$@"
  before=$(number b /v1/status received)
  # Counted from the second on: the way to the first is another figure.
  wait_for "(( \$(number b /v1/status received) > before ))" 60
  started=$(now_ms)
  before=$(number b /v1/status received)
  get a /v1/links
  [[ $(answer_has "\"path\":\"$way\"") == 1 ]] || fail "the link does not go over $way: $ANSWER"
  total=$((total + 65))
  wait_for "(( \$(number b /v1/status received) == total ))" 120
  figure "${way}_bytes_per_s" $(((total - before) * 16000 * 1000 / ($(now_ms) - started)))
}

# moment PATTERN: of the first line of B's log that has it, in milliseconds.
moment() { date -d "$(grep -m1 -e "$1" "$LOGS/b.log" | cut -d' ' -f1)" +%s%3N; }

# The kernel's own count of bytes that a controller was given to send, packet heads included.
sent_bytes() { hciconfig "$1" | awk '/TX bytes/ { sub("bytes:", "", $2); print $2 }'; }

printf -v filling '%16000s' ''
filling=${filling// /x}
total=0
air_up one
bluetoothd_conf $'[GATT]\nCache = no'
start_bluetoothd
one=$(adapter_of one 1) two=$(adapter_of one 2)

say "the raw program"
"$probe" serve "$one" >"$LOGS/serve.json" 2>"$LOGS/serve.log" &
server=$!
wait_for "[[ -s $LOGS/serve.json ]]" "$SETUP_S"
"$probe" measure "$two" >"$LOGS/raw.json" 2>"$LOGS/measure.log" || fail "the probe says: $(<"$LOGS/measure.log")"
kill_and_reap "$server" TERM
for name in gatt_write_to_socket_bytes_per_s gatt_notify_bytes_per_s l2cap_deliver_bytes_per_s l2cap_fetch_bytes_per_s \
  connect_ms resolve_ms; do
  figure "raw_$name" "$(jq ".$name" "$LOGS/raw.json")"
done

say "time to the first bundle, and L2CAP"
start_node a --adapter "$one" --log "$LOG"
transfer l2cap
heard=$(moment 'heard with news') dialled=$(moment ' dialled \|link is up')
figure heard_to_link_ms $((dialled - heard))
first=$(get b '/v1/messages?limit=1&order=asc' && jq -r '.items[0].received_at' <<<"$ANSWER")
figure heard_to_first_bundle_ms $(($(date -d "$first" +%s%3N) - heard))

say "bytes on the air for 100 messages of 200 bytes on a link that is up"
before=$(sent_bytes "$one")
for n in {1..100}; do post a "$n ${filling:0:$((199 - ${#n}))}" || fail "message $n was not taken"; done
total=$((total + 100))
wait_for "(( \$(number b /v1/status received) == total ))" 60
figure live_bytes_on_air_percent $((($(sent_bytes "$one") - before) / 200))

say "the same, met after they were written"
stop_node b
wait_for '[[ $(links_of a) == 0 ]]' 10
for n in {1..100}; do post a "$n ${filling:0:$((199 - ${#n}))}" || fail "message $n was not taken"; done
total=$((total + 100))
before=$(sent_bytes "$one")
start_node b --adapter "$two" --log "$LOG"
wait_for "(( \$(number b /v1/status received) == total ))" 60
figure met_bytes_on_air_percent $((($(sent_bytes "$one") - before) / 200))

say "GATT"
stop_node b
wait_for '[[ $(links_of a) == 0 ]]' 10
printf '[bluetooth]\nl2cap = false\n' >"$RUN/gatt.toml"
transfer gatt --config "$RUN/gatt.toml"
