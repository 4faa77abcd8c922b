# Whatever goes wrong with Bluetooth is in the status in words with a hint, and over 3 s after its cause is.
# limit: 240
# needs: meshd meshctl
says() { get a /v1/status && (($(answer_has "$1") > 0)); }

# back WHAT: the node is at work again in time.
back() {
  wait_for 'ble_is a up' 20
  say "back from $1 after $WAITED_MS ms"
  figure "back_from_${1// /_}_ms" "$WAITED_MS"
  ((WAITED_MS <= 3000)) || slow+=("$1")
}

slow=()
start_node a --adapter hci0 --log "$LOG"
wait_for 'says "no system message bus"' 10
start_bus
wait_for 'says "no Bluetooth service"' 20
start_bluetoothd
wait_for 'says "no Bluetooth adapter" || says "the adapter is not there"' 10
air_up one
wait_for bluetoothd_is_ready "$SETUP_S"
back "no adapter"

block hci0
wait_for 'says "the adapter is blocked" && says "rfkill unblock bluetooth"' 10
unblock hci0
back blocked

power hci0 off
wait_for 'says "the adapter is switched off"' 10
stays 'ble_is a down || ! ble_is a up' 5
power hci0 on
back "switched off"

air_down one
wait_for 'says "the adapter is not there"' 10
air_up one
wait_for bluetoothd_is_ready "$SETUP_S"
back unplugged

hang_bluetoothd
wait_for 'says "the Bluetooth service does not answer"' 40
resume_bluetoothd
back hung

node_is_up a || fail "the node ended"
((${#slow[@]} == 0)) || fail "back after more than 3 s: ${slow[*]}"
