# How long two nodes with news need to hear each other and to swap once they come into range, by duty profile. Figures.
# limit: 1500
# needs: meshd meshctl
ROUNDS=${ROUNDS:-5}
declare -A CYCLE_S=([mains]=5 [balanced]=10 [saver]=60)

# heard_at: when the first of the two heard the other, in milliseconds.
heard_at() {
  cat "$LOGS/a.log" "$LOGS/b.log" | awk '/heard with news/ { print $1 }' | sort | head -1 | date -f - +%s%3N
}

air_up one
bluetoothd_conf $'[GATT]\nCache = no'
start_bluetoothd
for profile in ${PROFILES:-mains balanced saver}; do
  printf '[bluetooth]\nprofile = "%s"\n' "$profile" >"$RUN/$profile.toml"
  heard_ms=0 swapped_ms=0 slowest_ms=0
  for ((round = 1; round <= ROUNDS; round++)); do
    out_of_range
    start_node a --adapter "$(adapter_of one 1)" --config "$RUN/$profile.toml" --log "$LOG"
    start_node b --adapter "$(adapter_of one 2)" --config "$RUN/$profile.toml" --log "$LOG"
    wait_for 'ble_is a up && ble_is b up' 20
    post a "$profile $round"
    # They come into range at any moment of the schedule.
    pause $((2 + RANDOM % CYCLE_S[$profile])).$((RANDOM % 10))
    [[ $(links_of a) == 0 ]] || fail "they have met out of range"
    came_at=$(now_ms)
    in_range
    wait_for "has b '$profile $round'" 150
    heard=$(($(heard_at) - came_at))
    say "$profile: heard after $heard ms, swapped after $WAITED_MS ms"
    heard_ms=$((heard_ms + heard))
    swapped_ms=$((swapped_ms + WAITED_MS))
    ((slowest_ms >= heard)) || slowest_ms=$heard
    : >"$LOGS/a.log" && : >"$LOGS/b.log"
    stop_node a
    stop_node b
    wait_for '! ls /sys/class/bluetooth | grep -q :' 20
  done
  figure "${profile}_heard_mean_ms" $((heard_ms / ROUNDS))
  figure "${profile}_heard_slowest_ms" "$slowest_ms"
  figure "${profile}_swapped_mean_ms" $((swapped_ms / ROUNDS))
done
