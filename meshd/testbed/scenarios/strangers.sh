# Two people who never met write to each other over Bluetooth, by the text of a code alone: the README's lines.
# Whoever records the air finds no words and no names.
# limit: 300
# needs: meshd meshctl
air_up one
start_bluetoothd
btmon_start air
start_node ana --adapter "$(adapter_of one 1)" --log "$LOG"
start_node bob --adapter "$(adapter_of one 2)" --log "$LOG"
code=$(ctl ana contact code 2>"$LOGS/code.txt" | grep -o 'MESHLINK:[^ ]*' | head -1)
[[ $code ]] || fail "no code: $(<"$LOGS/code.txt")"
ctl bob contact add "$code" >"$LOGS/added.txt"
started=$(now_ms)
ctl bob send --to ana --wait delivered --timeout 60s "See you at six" >"$LOGS/sent.txt"
figure strangers_delivered_ms $(($(now_ms) - started))
[[ $(ctl ana --json list | jq -r '.[] | select(.text == "See you at six") | .protection') == sealed* ]] \
  || fail "Ana has it not, or not sealed: $(ctl ana --json list)"
ctl bob contact verify ana >"$LOGS/verify.txt"

say "Ana answers whom she has never added"
from=$(ctl ana --json list | jq -r '.[] | select(.text == "See you at six") | .from.id')
ctl ana send --to "$from" --wait delivered --timeout 60s "Seven is better" >>"$LOGS/sent.txt"
[[ $(ctl bob --json list | jq -r '.[] | select(.text == "Seven is better") | .protection') == sealed* ]] \
  || fail "Bob has it not, or not sealed: $(ctl bob --json list)"
[[ $(links_of bob) == 1 ]] || fail "it did not go over Bluetooth alone"
btmon_stop

say "what was recorded of the air"
recorded=$(od -An -v -tx1 "$LOGS/air.btsnoop" | tr -d ' \n')
on_air() { [[ $recorded == *"$1"* ]]; }
hex_of() { od -An -v -tx1 | tr -d ' \n'; }
on_air a1c0e01d3c579a1c4f736d2e4a6f0b || fail "no advertisement of ours was recorded"
for words in 'See you' 'is better' "${code:9:20}"; do
  if on_air "$(printf %s "$words" | hex_of)"; then fail "'$words' is on the air"; fi
done
for node in ana bob; do
  get "$node" /v1/status
  [[ $ANSWER =~ \"node_id\":\"([a-z2-7]{32})\" ]] || fail "no id of $node: $ANSWER"
  text=$(printf %s "${BASH_REMATCH[1]}" | hex_of)
  bytes=$(printf %s "${BASH_REMATCH[1]^^}" | base32 -d | hex_of)
  # Five bytes agree by chance once in a million recordings.
  for ((at = 0; at < ${#bytes}; at += 10)); do
    if on_air "${bytes:at:10}"; then fail "a part of the id of $node is on the air"; fi
  done
  for ((at = 0; at < ${#text}; at += 16)); do
    if on_air "${text:at:16}"; then fail "a part of the id of $node, as text, is on the air"; fi
  done
done
