# The adapters vanish in the middle of 2 MiB: the transfer goes on where it was, with at most 10 % sent twice.
# limit: 300
# needs: meshd meshctl
received() { number b /v1/status received; }

air_up one
start_bluetoothd
start_node a --adapter "$(adapter_of one 1)" --log "$LOG"
printf -v filling '%16000s' ''
filling=${filling// /x}
for n in {1..128}; do post a "$n $filling" || fail "message $n was not taken"; done
start_node b --adapter "$(adapter_of one 2)" --log "$LOG"
wait_for '(( $(received) >= 8 ))' 120
air_down one
wait_for '[[ $(links_of a) == 0 && $(links_of b) == 0 ]]' 10
arrived=$(received)
say "cut after $arrived of 128 messages"
((arrived < 128)) || fail "all had arrived before the cut"

air_up one
wait_for bluetoothd_is_ready "$SETUP_S"
wait_for '(( $(received) == 128 ))' 120
figure cut_resumed_ms "$WAITED_MS"
sent_after=$(number a /v1/links sent_bytes)
# What was left, and a tenth of what had arrived; 200 bytes a message are its header and framing.
allowed=$(((128 - arrived) * 16200 + arrived * 16200 / 10))
figure cut_sent_again_bytes $((sent_after - (128 - arrived) * 16200))
((sent_after <= allowed)) || fail "$sent_after bytes were sent after the cut, more than $allowed"
[[ $(ctl b --json list --all | jq '[.[].text] | (length == 128) and ((unique | length) == 128)') == true ]] \
  || fail "messages are missing or doubled"
