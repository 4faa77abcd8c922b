# `meshctl doctor` names every way in which Bluetooth can be absent, and what ends it.
# limit: 700
# needs: meshd meshctl probe

# finding CHECK STATE WORDS: the doctor's check came out so, and its detail or hint has the words.
finding() {
  REPORT=$(ctl a --json doctor 2>/dev/null || true)
  jq -e --arg check "$1" --arg state "$2" --arg words "$3" \
    'any(.checks[]; (.check | startswith($check)) and .state == $state and ((.detail + " " + (.hint // "")) | contains($words)))' \
    <<<"$REPORT" >/dev/null
}
doctor_says() {
  try_for "finding '$1' '$2' '$3'" 60 || { echo "$REPORT" >"$LOGS/report.json"; fail "no $2 of $1 with '$3'"; }
  say "$1: $2: $3"
}

start_node a --adapter hci0 --log "$LOG"
doctor_says dbus fail 'apt install dbus'
start_bus
doctor_says dbus ok 'answers'
doctor_says bluetooth.bluez fail 'enable --now bluetooth'
doctor_says bluetooth.adapter fail 'no Bluetooth adapter'
start_bluetoothd
doctor_says bluetooth.bluez ok 'BlueZ 5.'
air_up one 1
doctor_says bluetooth.adapter ok 'hci0 is on'
doctor_says bluetooth.settings warn 'Privacy = device'
block hci0
doctor_says bluetooth.rfkill fail 'rfkill unblock bluetooth'
unblock hci0
doctor_says bluetooth.rfkill ok 'not blocked'
power hci0 off
doctor_says bluetooth.adapter fail 'power on'
power hci0 on
doctor_says bluetooth.adapter ok 'hci0 is on'
air_down one
doctor_says bluetooth.adapter fail 'no Bluetooth adapter'
air_up one 1
doctor_says bluetooth.adapter ok 'hci0 is on'
hang_bluetoothd
doctor_says bluetooth.bluez fail 'restart bluetooth'
resume_bluetoothd
doctor_says bluetooth.adapter ok 'hci0 is on'
kill_bluetoothd
doctor_says bluetooth.bluez fail 'does not run'

# What only the daemon sees: another program was first at what it needs.
stop_node a
start_bluetoothd
hog hci0 advertisements
start_node a --adapter hci0 --log "$LOG"
doctor_says transport.bluetooth warn 'another program may use up'
unhog
doctor_says transport.bluetooth ok ''
stop_node a
hog hci0 $((0xe000))
start_node a --adapter hci0 --log "$LOG"
doctor_says transport.bluetooth fail 'another program may'
unhog
doctor_says transport.bluetooth ok ''
kill_bus
doctor_says dbus fail 'dbus'
node_is_up a || fail "the node ended"
