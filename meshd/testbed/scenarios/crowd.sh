# Six nodes in one air write 100 messages of 1 byte to 16 KiB: everyone has all, once each, within the slots.
# limit: 400
# needs: meshd meshctl
names=(a b c d e f)
everybody_has() {
  local name
  for name in "${names[@]}"; do
    (($(number "$name" /v1/status received) == 100 - ${own[$name]})) || return 1
  done
}

# No node may have more links than slots, at any time.
within_slots() {
  local name
  for name in "${names[@]}"; do (($(links_of "$name") <= 7)) || fail "$name has $(links_of "$name") links"; done
}

air_up one 6
start_bluetoothd
declare -A own=()
for n in {0..5}; do
  start_node "${names[n]}" --adapter "$(adapter_of one $((n + 1)))" --log "$LOG"
  own[${names[n]}]=0
done
printf -v filling '%16384s' ''
filling=${filling// /x}
for n in {0..99}; do
  name=${names[n % 6]}
  text="$n $filling"
  length=$((1 << n % 15))
  ((length > 4)) || text=${text: -$((n % 15 + 1))}
  post "$name" "${text:0:length}" || fail "message $n was not taken"
  own[$name]=$((own[$name] + 1))
  within_slots
done
wait_for 'within_slots; everybody_has' 240
figure crowd_ms "$WAITED_MS"
for name in "${names[@]}"; do
  [[ $(ctl "$name" --json list --all | jq '([.[].id] | unique | length) == 100 and length == 100') == true ]] \
    || fail "$name has $(ctl "$name" --json list --all | jq length) messages"
done
