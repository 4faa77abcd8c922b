# How long two nodes with news need to find each other and swap once they are in range, by duty profile. Figures.
# limit: 900
# needs: meshd meshctl

# Out of range nobody's advertisements are repeated, so nobody is heard; see guest/repeat_adverts.py.
out_of_range() { kill -STOP "${AIR_REPEAT_PID[one]}"; }
in_range() { kill -CONT "${AIR_REPEAT_PID[one]}"; }

air_up one
bluetoothd_conf $'[GATT]\nCache = no'
start_bluetoothd
for profile in mains balanced saver; do
  printf '[bluetooth]\nprofile = "%s"\n' "$profile" >"$RUN/$profile.toml"
  slowest_ms=0 all_ms=0
  for ((round = 1; round <= ${ROUNDS:-4}; round++)); do
    out_of_range
    start_node a --adapter "$(adapter_of one 1)" --config "$RUN/$profile.toml" --log "$LOG"
    start_node b --adapter "$(adapter_of one 2)" --config "$RUN/$profile.toml" --log "$LOG"
    wait_for 'ble_is a up && ble_is b up' 20
    post a "$profile $round"
    # They come into range at any moment of the schedule.
    pause $((5 + RANDOM % 16))
    [[ $(links_of a) == 0 ]] || fail "they have met out of range"
    in_range
    wait_for "has b '$profile $round'" 150
    say "$profile: $WAITED_MS ms"
    all_ms=$((all_ms + WAITED_MS))
    ((slowest_ms >= WAITED_MS)) || slowest_ms=$WAITED_MS
    stop_node a
    stop_node b
  done
  figure "${profile}_found_mean_ms" $((all_ms / ${ROUNDS:-4}))
  figure "${profile}_found_slowest_ms" "$slowest_ms"
done
