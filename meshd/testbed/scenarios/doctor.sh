# `meshctl doctor` names every way in which Bluetooth can be absent, and what ends it.
# limit: 240
# needs: meshd meshctl

# finding CHECK STATE WORDS: the doctor's check came out so, and its detail or hint has the words.
finding() {
  REPORT=$(ctl a --json doctor 2>/dev/null || true)
  jq -e --arg check "$1" --arg state "$2" --arg words "$3" \
    'any(.checks[]; .check == $check and .state == $state and ((.detail + " " + (.hint // "")) | contains($words)))' \
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
hang_bluetoothd
doctor_says bluetooth.bluez fail 'restart bluetooth'
resume_bluetoothd
doctor_says bluetooth.adapter ok 'hci0 is on'
kill_bluetoothd
doctor_says bluetooth.bluez fail 'does not run'
