# What the daemon adds to a raw program on the same path, in the same minutes: goodput, time to the first bundle, bytes on the air.
# limit: 1200
# needs: meshd meshctl probe
RATE_ROUNDS=${ROUNDS:-3}
one=hci0 two=hci1

# median NUMBER...
median() { printf '%s\n' "$@" | sort -n | sed -n "$((($# + 1) / 2))p"; }

# raw_round ARGUMENTS...: the raw program on the same two adapters; its figures are in raw.json.
raw_round() {
  "$probe" serve "$one" >"$LOGS/serve.json" 2>>"$LOGS/serve.log" &
  local server=$!
  wait_for "[[ -s $LOGS/serve.json ]]" "$SETUP_S"
  "$probe" measure "$two" "$@" >"$LOGS/raw.json" 2>>"$LOGS/measure.log" || fail "the probe says: $(tail -3 "$LOGS/measure.log")"
  kill_and_reap "$server" TERM
  rm "$LOGS/serve.json"
}

# The next round may not find this one's connection.
stop_pair() {
  stop_node b
  stop_node a
  wait_for '! ls /sys/class/bluetooth | grep -q :' 20
}

# write COUNT TEXT: A writes that many messages.
write() {
  local n
  for ((n = 1; n <= $1; n++)); do post a "$n $round $2" || fail "message $n was not taken"; done
  total=$((total + $1))
}

b_has() { (($(number b /v1/status received) >= $1)); }

# cpu_ms PID...: what each has used so far, in USED. Starts no process, which would use more.
cpu_ms() {
  local pid stat
  USED=()
  for pid; do
    read -r stat <"/proc/$pid/stat"
    # The 12th and 13th word after the name, in hundredths of a second.
    read -ra stat <<<"${stat##*) }"
    USED+=($(((stat[11] + stat[12]) * 10)))
  done
}

# meet WAY: both start, and swap what A holds. Sets RATE from the first bundle in B on, in bytes/s, and DIRECTION.
meet() {
  local way=$1 before used
  cpu_ms "$BLUETOOTHD_PID" "${AIR_PID[one]}"
  used=("${USED[@]}")
  start_node b --adapter "$two" --config "$RUN/$way.toml"
  before=$(number b /v1/status received)
  start_node a --adapter "$one" --config "$RUN/$way.toml"
  # Seldom: to look costs a core that both need, and the raw program is not looked at either.
  wait_for "b_has $total" 120 3
  cpu_ms "${NODE_PID[a]}" "${NODE_PID[b]}" "$BLUETOOTHD_PID" "${AIR_PID[one]}"
  say "processor time in ms, from the start on: sender ${USED[0]}, receiver ${USED[1]}, bluetoothd $((USED[2] - used[0])), btvirt $((USED[3] - used[1]))"
  RATE=$(ctl b --json list --limit "$((total - before))" | jq '[.[].received_at | (.[:19] + "Z" | fromdate) * 1000 + (.[20:23] | tonumber)]
    | sort | . as $at | [.[] | select(. > $at[0])] | length * 16000000 / ($at[-1] - $at[0]) | floor')
  get b /v1/links
  [[ $(answer_has "\"path\":\"$way\"") == 1 ]] || fail "the link does not go over $way: $ANSWER"
  if [[ $(answer_has '"dialled":true') == 1 ]]; then DIRECTION=to_caller; else DIRECTION=to_callee; fi
}

# news: both are up, in range and hold the same; then A writes, and who calls is settled by chance. Sets FIRST_MS: from the advertisement that
# B heard and called for to the bundle in B. Fails where A called.
news() {
  local stored
  start_node a --adapter "$one" --log "$LOG"
  start_node b --adapter "$two" --log "$LOG"
  wait_for 'ble_is a up && ble_is b up' 20
  stays '[[ $(links_of a) == 0 ]]' 5
  : >"$LOGS/b.log"
  write 1 hello
  wait_for "b_has $total" 60
  get b /v1/links
  [[ $(answer_has '"dialled":true') == 1 ]] || return 1
  stored=$(ctl b --json list --limit 1 | jq '.[].received_at | (.[:19] + "Z" | fromdate) * 1000 + (.[20:23] | tonumber)')
  FIRST_MS=$((stored - $(date -d "$(grep -m1 'heard with news' "$LOGS/b.log" | cut -d' ' -f1)" +%s%3N)))
}

# goodput: of a mebibyte, over each way.
goodput() {
  local way ratios
  for way in ${WAYS:-l2cap gatt}; do
    ratios=()
    for ((round = 1; round <= RATE_ROUNDS; round++)); do
      raw_round
      # Without a radio: A takes in what it will send.
      start_node a --no-ble
      write 65 "$way $filling"
      stop_node a
      meet "$way"
      case $way-$DIRECTION in
        l2cap-to_callee) raw=l2cap_deliver ;;
        l2cap-to_caller) raw=l2cap_fetch ;;
        # As fast as it goes, raw=gatt_write_to_socket, bluetoothd drops what a slow reader leaves: both have a window of 64 KiB.
        gatt-to_callee) raw=gatt_write_in_window ;;
        gatt-to_caller) raw=gatt_notify ;;
      esac
      raw_rate=$(jq ".${raw}_bytes_per_s | floor" "$LOGS/raw.json")
      say "$way, $DIRECTION, round $round: $RATE bytes/s, raw ($raw) $raw_rate bytes/s"
      figure "${way}_${DIRECTION}_bytes_per_s" "$RATE"
      figure "raw_${raw}_bytes_per_s" "$raw_rate"
      # No rate where it lost some: then it is no yardstick.
      figure raw_gatt_write_to_socket_bytes_per_s "$(jq '.gatt_write_to_socket_bytes_per_s // 0 | floor' "$LOGS/raw.json")"
      figure raw_gatt_write_to_socket_lost_bytes "$(jq .gatt_write_to_socket_lost_bytes "$LOGS/raw.json")"
      ratios+=($((RATE * 100 / raw_rate)))
      stop_pair
    done
    figure "${way}_percent_of_raw_median" "$(median "${ratios[@]}")"
  done
}

# first_bundle: from an advertisement heard, beside the raw program's connecting and resolving.
first_bundle() {
  local raw_times=() first_times=()
  # They have met before, and hold the same.
  start_node a --adapter "$one"
  start_node b --adapter "$two"
  write 1 hello
  wait_for "b_has $total" 60
  wait_for '(( $(number a /v1/status synced) == total ))' 20
  stop_pair
  say "time to the first bundle"
  for ((round = 1; ${#first_times[@]} < RATE_ROUNDS; round++)); do
    ((round <= 8 * RATE_ROUNDS)) || fail "B never calls"
    if news; then
      first_times+=("$FIRST_MS")
      stop_pair
      raw_round --only meet
      raw_times+=("$(jq '.connect_ms + .resolve_ms | floor' "$LOGS/raw.json")")
      say "$FIRST_MS ms, raw ${raw_times[-1]} ms"
    else
      stop_pair
    fi
  done
  figure first_bundle_ms_median "$(median "${first_times[@]}")"
  figure raw_connect_and_resolve_ms_median "$(median "${raw_times[@]}")"
}

# sent_bytes: by both, as the kernel counts what it gives its controllers.
sent_bytes() { hciconfig | awk '/TX bytes/ { sub("bytes:", "", $2); sum += $2 } END { print sum }'; }
# on_air NAME: between btmon_start and here, by the capture and by the kernel's count.
on_air() {
  btmon_stop
  air_report "$1" >"$LOGS/$1.json"
  figure "$1_by_capture_bytes" "$(jq '[.[].acl_sent_bytes] | add' "$LOGS/$1.json")"
  figure "$1_by_kernel_bytes" $(($(sent_bytes) - sent_before))
}

bytes_on_air() {
  local text id
  say "bytes on the air for 100 messages of 200 bytes"
  text=${filling:0:195}
  start_node a --adapter "$one"
  start_node b --adapter "$two"
  write 1 hello
  wait_for "b_has $total" 60
  btmon_start live
  sent_before=$(sent_bytes)
  write 100 "$text"
  wait_for "b_has $total" 60
  pause 1
  on_air live
  id=$(ctl a --json list --limit 1 | jq -r '.[0].id')
  figure bundle_bytes "$(ctl a --json trace "$id" | jq .size_bytes)"

  stop_pair
  start_node a --no-ble
  round=0
  write 100 "$text"
  stop_node a
  btmon_start met
  sent_before=$(sent_bytes)
  meet l2cap
  pause 1
  on_air met
}

printf -v filling '%15980s' ''
filling=${filling// /x}
total=0 round=0
air_up one
bluetoothd_conf $'[GATT]\nCache = no'
start_bluetoothd
printf '' >"$RUN/l2cap.toml"
printf '[bluetooth]\nl2cap = false\n' >"$RUN/gatt.toml"
for part in ${PARTS:-goodput first_bundle bytes_on_air}; do
  "$part"
  if node_is_up a 2>/dev/null; then stop_pair; fi
done
