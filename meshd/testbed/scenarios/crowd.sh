# Six nodes in one air write 100 messages of 1 byte to 16 KiB: everyone has all, once each, within three slots a node.
# Takes a build that is optimised, if little (--bin; CARGO_PROFILE_DEV_OPT_LEVEL=1): six nodes of a debug build leave the emulated machine
# nothing for bluetoothd.
# limit: 480
# needs: meshd meshctl
names=(a b c d e f)
links_max=3
everybody_has() {
  local name
  for name in "${names[@]}"; do
    (($(number "$name" /v1/status received) == 100 - ${own[$name]})) || return 1
  done
}

# No node may have more links than slots, at any time.
within_slots() {
  local name links
  bluetoothd_is_up || fail "bluetoothd has crashed"
  for name in "${names[@]}"; do
    links=$(links_of "$name")
    ((links <= links_max)) || fail "$name has $links links"
    ((links <= most_links)) || most_links=$links
  done
}

# Written before there is a radio: what the emulated machine has is then the crowd's.
printf '[bluetooth]\nlinks = %s\ncallers = 2\n' "$links_max" >"$RUN/slots.toml"
declare -A own=()
most_links=0
for n in {0..5}; do
  start_node "${names[n]}" --adapter "hci$n" --config "$RUN/slots.toml"
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
done
air_up one 6
[[ ${AIR_ADAPTERS[one]} == "hci0 hci1 hci2 hci3 hci4 hci5" ]] || fail "other adapters: ${AIR_ADAPTERS[one]}"
start_bluetoothd
wait_for 'pause 2; within_slots; everybody_has' 300
figure crowd_ms "$WAITED_MS"
figure crowd_links_most "$most_links"
for name in "${names[@]}"; do
  [[ $(ctl "$name" --json list --all | jq '([.[].id] | unique | length) == 100 and length == 100') == true ]] \
    || fail "$name has $(ctl "$name" --json list --all | jq length) messages"
done
