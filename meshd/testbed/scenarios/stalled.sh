# A receiver stops in the middle of 1 MiB over L2CAP: the sender waits without growing or working, and then all arrives, once.
# limit: 200
# needs: meshd meshctl
received() { number b /v1/status received; }
sent() { get a /v1/links && jq '[.items[].sent_bytes] | add // 0' <<<"$ANSWER"; }

air_up one
start_bluetoothd
start_node a --adapter "$(adapter_of one 1)" --log "$LOG"
post_mebibyte a
start_node b --adapter "$(adapter_of one 2)" --log "$LOG"
wait_for '(( $(received) >= 10 ))' 120
kill -STOP "${NODE_PID[b]}"
get a /v1/links
[[ $(answer_has '"path":"l2cap"') == 1 ]] || fail "the link does not go over L2CAP: $ANSWER"
link=$(jq -c '[.items[].id]' <<<"$ANSWER")

say "what is under way fills the window, and no more is sent"
before=-1
stands_still() {
  local now
  now=$(sent)
  ((now == before)) && return
  before=$now
  pause 1
  return 1
}
wait_for stands_still 20
memory=$(memory_of a)
worked=$(work_of "${NODE_PID[a]}")
# A stalled link is given up after 30 s: this is shorter, so that it is the same link that goes on.
pause 6
worked=$(($(work_of "${NODE_PID[a]}" | cut -d' ' -f1) - ${worked%% *}))
(($(sent) == before)) || fail "it sent on"
figure stalled_work_ms "$worked"
figure stalled_memory_kib $(($(memory_of a) - memory))
# It advertises and listens.
((worked < 1200)) || fail "it worked for $worked ms of 6 s, with nothing to do"
(($(memory_of a) - memory <= 1024)) || fail "it grew by $(($(memory_of a) - memory)) KiB"

kill -CONT "${NODE_PID[b]}"
wait_for '(( $(received) == 66 ))' 120
figure stalled_rest_ms "$WAITED_MS"
get a /v1/links
if [[ $(jq -c '[.items[].id]' <<<"$ANSWER") == "$link" ]]; then
  # 200 bytes a message are its header and framing; as much as one message is all that is said beside them.
  (($(sent) <= 67 * 16200)) || fail "messages were sent again: $ANSWER"
else
  # To who was stopped for 10 s, bluetoothd may seem to have hung for as long.
  say "it goes on over another link: $(grep -c 'does not answer' "$LOGS/b.log" || true) times the service seemed to hang"
fi
[[ $(ctl b --json list --all | jq '[.[].text] | (length == 66) and ((unique | length) == 66)') == true ]] \
  || fail "messages are missing or doubled"
