# A stranger's GATT client connects to both nodes, writes garbage, oversize and floods into every lane, and stays: the pair goes on.
# limit: 240
# needs: meshd meshctl
characteristic() { echo "/org/bluez/$enemy/dev_${1//:/_}/service$(printf %04x $((0xe000 + 8 * $2)))/char$(printf %04x $((0xe001 + 8 * $2)))"; }

call() { timeout 10 busctl --system call org.bluez "$@"; }

# write ADDRESS LANE KIND BYTE...: a value into a lane, as the kind of write named.
write() {
  local path
  path=$(characteristic "$1" "$2")
  call "$path" org.bluez.GattCharacteristic1 WriteValue 'aya{sv}' $(($# - 3)) "${@:4}" 1 type s "$3"
}

# attack ADDRESS: what a hostile client can do without a key.
attack() {
  local lane n big
  big=$(printf '7 %.0s' {1..600})
  call "/org/bluez/$enemy/dev_${1//:/_}" org.bluez.Device1 Connect || return 1
  wait_for "call $(characteristic "$1" 0) org.bluez.GattCharacteristic1 ReadValue 'a{sv}' 0" 20
  for lane in 0 1 2 3; do
    for n in {1..5}; do call "$(characteristic "$1" 0)" org.bluez.GattCharacteristic1 ReadValue 'a{sv}' 0 || true; done
    for n in {1..10}; do write "$1" "$lane" command 64 0 1 2 3 4 || true; done
    # shellcheck disable=SC2086  # a byte each
    write "$1" "$lane" reliable $big || true
    # shellcheck disable=SC2086
    write "$1" "$lane" request $big || true
  done
}

air_up one 3
start_bluetoothd
enemy=$(adapter_of one 3)
start_node a --adapter "$(adapter_of one 1)" --log "$LOG"
start_node b --adapter "$(adapter_of one 2)" --log "$LOG"
post a "before"
wait_for 'has b before' 20
power "$enemy" on
(echo "select $(address_of "$enemy")"; echo "scan le"; sleep 60) | bluetoothctl >>"$LOGS/enemy.log" 2>&1 &
for n in 1 2; do
  victim=$(address_of "$(adapter_of one $n)")
  wait_for "call /org/bluez/$enemy/dev_${victim//:/_} org.freedesktop.DBus.Properties Get ss org.bluez.Device1 RSSI" 30
  attack "$victim" >>"$LOGS/enemy.log" 2>&1 || say "no connection to $victim"
  post a "during attack $n"
  wait_for "has b 'during attack $n'" 20
  post b "answer $n"
  wait_for "has a 'answer $n'" 20
done
for name in a b; do
  node_is_up "$name" || fail "$name ended"
  [[ $(links_of "$name") == 1 ]] || fail "$name has $(links_of "$name") links"
  figure "foreign_memory_kib_$name" "$(memory_of "$name")"
done
