# Whatever goes wrong with Bluetooth is in the status in words with a hint, and over 3 s after its cause is.
# limit: 360
# needs: meshd meshctl probe
says() { get a /v1/status && (($(answer_has "$1") > 0)); }

# is STATE HINT: the status says so, with what helps.
is() { says "$1" && says "$2"; }

# back WHAT: the node is at work again in time.
back() {
  wait_for 'ble_is a up' 20
  figure "back_from_${1// /_}_ms" "$WAITED_MS"
  ((WAITED_MS <= 3000)) || slow+=("$1")
}

slow=()
start_node a --adapter hci0 --log "$LOG"
wait_for 'is "no system message bus" "start dbus"' 10
start_bus
wait_for 'is "no Bluetooth service" "systemctl enable --now bluetooth"' 20
start_bluetoothd
wait_for 'says "no Bluetooth adapter" || says "the adapter is not there"' 10
air_up one
wait_for bluetoothd_is_ready "$SETUP_S"
back "no adapter"

block hci0
wait_for 'is "the adapter is blocked" "rfkill unblock bluetooth"' 10
unblock hci0
back blocked

power hci0 off
wait_for 'is "the adapter is switched off" "bluetoothctl power on"' 10
stays '! ble_is a up' 5
power hci0 on
back "switched off"

air_down one
wait_for 'says "the adapter is not there"' 10
air_up one
wait_for bluetoothd_is_ready "$SETUP_S"
back unplugged

# With the message comes another beacon, whose registration is under way when the node gives up. bluetoothd takes it later: whoever has left
# the bus by then it never takes for gone, and with five such advertisements it is full.
hang_bluetoothd
send a "while it hangs" >/dev/null
wait_for 'is "the Bluetooth service does not answer" "systemctl restart bluetooth"' 40
resume_bluetoothd
back hung
wait_for '[[ $(advertisements_of hci0) == 1 ]]' 10

kill_bluetoothd
wait_for 'says "no Bluetooth service"' 5
start_bluetoothd
back killed

# Half of it works: a node that can't listen is heard and called by others.
keep_inquiring hci0
wait_for 'is "advertising, but hears nobody" "systemctl restart bluetooth"' 40
says '"name":"hci0","state":"degraded"' || fail "a node that hears nobody says $ANSWER"
stop_inquiring hci0
wait_for 'ble_is a up' 20
figure back_from_deaf_ms "$WAITED_MS"

# Another program is first at what the node needs: a start is where it is refused.
kill_bluetoothd
stop_node a
start_bluetoothd
hog hci0 advertisements
start_node a --adapter hci0 --log "$LOG"
wait_for 'is "not heard by others: the Bluetooth service refuses the advertisement" "another program may use up"' 20
unhog
back "too many advertisements"

stop_node a
hog hci0 $((0xe000))
start_node a --adapter hci0 --log "$LOG"
wait_for 'is "the Bluetooth service refuses the GATT services" "another program may"' 20
unhog
back "refused services"

kill_bus
wait_for 'says "no system message bus"' 10
start_bluetoothd
back "no bus"

node_is_up a || fail "the node ended"
((${#slow[@]} == 0)) || fail "back after more than 3 s: ${slow[*]}"
