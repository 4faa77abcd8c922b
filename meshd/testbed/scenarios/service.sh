# As a service behind all its walls the daemon uses Bluetooth, and its limits hold.
# limit: 400
# needs: meshd meshctl
air_up one
start_bluetoothd

# systemd as the first process of namespaces of its own, over the same files. Bluetooth sockets exist in the first
# network namespace alone, so that one is shared. The bus and bluetoothd are the bed's.
root=$testbed/../..
install -m 755 "$bin/meshd" "$bin/meshctl" /usr/bin/
install -m 644 "$root"/systemd/meshd.service "$root"/systemd/meshd.socket /etc/systemd/system/
systemd-sysusers "$root/systemd/sysusers.conf"
mkdir -p /etc/systemd/system/meshd.{service,socket}.d /etc/meshlink
printf '[Unit]\nDefaultDependencies=no\n' >/etc/systemd/system/meshd.socket.d/bed.conf
# Of the machine's own units only the journal is needed; an emulated boot of all takes minutes.
cat >/etc/systemd/system/meshd.service.d/bed.conf <<X
[Unit]
DefaultDependencies=no
[Service]
Environment=MESHD_ADAPTER=$(adapter_of one 1) MESHD_NO_LAN=1 MESHD_LOG=info,meshd=debug MESHD_NAME=service
X
ln -sf /dev/null /etc/systemd/system/bluetooth.service
unshare --fork --kill-child --pid --mount --cgroup --ipc --uts --propagation private bash -c '
  mount -t proc proc /proc
  mkdir -p /mnt/bus && mount --bind /run/dbus /mnt/bus
  mount -t tmpfs -o mode=755 tmpfs /run
  mkdir -p /run/dbus && mount --move /mnt/bus /run/dbus
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
  exec env -i container=testbed /lib/systemd/systemd --unit=meshd.service --log-target=journal --show-status=false
' >"$LOGS/systemd.log" 2>&1 </dev/null &
unshare_pid=$!
inside() { nsenter --target "$init_pid" --all --wd=/ -- env -i PATH=/usr/sbin:/usr/bin LC_ALL=C.UTF-8 "$@"; }
meshd_is_up() { init_pid=$(pgrep -P "$unshare_pid") && inside systemctl is-active meshd.service; }
try_for meshd_is_up 150 || { inside systemctl --no-pager status meshd >&2 || true; fail "meshd did not start"; }
service_has() { inside meshctl --json list | jq -r '.[].text' | grep -qFx -- "$1"; }

say "a message each way over Bluetooth, from inside the walls and to it"
start_node b --adapter "$(adapter_of one 2)" --log "$LOG"
inside meshctl send "from the service" >/dev/null
if ! try_for 'has b "from the service"' 90; then
  inside meshctl status >&2 || true
  inside journalctl --no-pager >"$LOGS/journal.log" || true
  fail "no message over Bluetooth"
fi
figure service_first_message_ms "$WAITED_MS"
send b "to the service" >/dev/null
wait_for 'service_has "to the service"' 30

say "the limits are the kernel's"
cgroup=/sys/fs/cgroup$(inside systemctl show -P ControlGroup meshd)
[[ $(inside cat "$cgroup/memory.max") == $((256 * 1024 * 1024)) ]] || fail "memory.max is $(inside cat "$cgroup/memory.max")"
[[ $(inside cat "$cgroup/pids.max") == 64 ]] || fail "pids.max is $(inside cat "$cgroup/pids.max")"
figure service_memory_bytes "$(inside cat "$cgroup/memory.current")"

say "D-03: out of memory, it is killed and started again, and what was stored is there"
inside sh -c "echo 3M >$cgroup/memory.max" || true
restarted() { (($(inside systemctl show -P NRestarts meshd) >= 1)); }
wait_for restarted 60
wait_for 'service_has "from the service"' 60
grep -q 'Memory cgroup out of memory: Killed process .*(meshd)' <<<"$(dmesg)" || fail "restarted, but not for want of memory"
