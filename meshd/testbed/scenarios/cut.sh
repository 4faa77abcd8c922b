# The adapters vanish in the middle of 1 MiB: the transfer goes on where it was, with at most 10 % sent twice.
# limit: 300
# needs: meshd meshctl
received() { number b /v1/status received; }

air_up one
start_bluetoothd
start_node a --adapter "$(adapter_of one 1)" --log "$LOG"
post_mebibyte a
start_node b --adapter "$(adapter_of one 2)" --log "$LOG"
wait_for '(( $(received) >= 26 ))' 120
air_down one
wait_for '[[ $(links_of a) == 0 && $(links_of b) == 0 ]]' 10
arrived=$(received)
say "cut after $arrived of 66 messages"
((arrived < 66)) || fail "all had arrived before the cut"

air_up one
wait_for bluetoothd_is_ready "$SETUP_S"
wait_for '(( $(received) == 66 ))' 120
figure cut_resumed_ms "$WAITED_MS"
get a /v1/links
sent_after=$(jq '[.items[].sent_bytes] | add' <<<"$ANSWER")
# What was left, and a tenth of what had arrived; 200 bytes a message are its header and framing.
again=$((sent_after - (66 - arrived) * 16200))
figure cut_sent_again_permille $((again * 1000 / (arrived * 16200)))
((again <= arrived * 1620)) || fail "$again bytes were sent again, of $((arrived * 16200)) that had arrived"
[[ $(ctl b --json list --all | jq '[.[].text] | (length == 66) and ((unique | length) == 66)') == true ]] \
  || fail "messages are missing or doubled"
