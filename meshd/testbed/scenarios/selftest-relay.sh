# Two nodes inside the guest swap a message through a relay: the node half of the bed, with no radio at all.
# limit: 120
# needs: meshd meshctl meshlink-relay
start_relay
start_node a --no-ble --relay ws://127.0.0.1:7000
start_node b --no-ble --relay ws://127.0.0.1:7000
id=$(send a "hello from a")
wait_for 'has b "hello from a"' 20
figure relay_delivery_ms "$WAITED_MS"
wait_for "[[ \$(status_of a $id) == synced ]]" 20
stop_node b
id=$(send a "while b was away")
start_node b --no-ble --relay ws://127.0.0.1:7000
wait_for 'has b "while b was away"' 20
has b "hello from a" || fail "the first message is gone or doubled: $(inbox b)"
figure no_ble_memory_kib "$(memory_of a)"
