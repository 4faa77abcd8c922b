# Two people who never met write to each other over Bluetooth, by the text of a code alone: the README's lines.
# limit: 300
# needs: meshd meshctl
air_up one
start_bluetoothd
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
