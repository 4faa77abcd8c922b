#!/bin/bash
# Runs the ordered scenarios one after the other, each in process and mount namespaces of its own, then powers off.
# Ending a namespace ends every process in it, so no scenario sees what the one before left behind.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
# shellcheck source=/dev/null
source /share/.job
export testbed bin probe handles

main() {
  mount -t tmpfs tmpfs /mnt
  ip link set lo up 2>/dev/null || busybox ifconfig lo up
  local name
  for name in "${scenarios[@]}"; do run_scenario "$name"; done
  sync
  echo o >/proc/sysrq-trigger
  sleep 10
}

run_scenario() {
  local name=$1 limit started=$SECONDS status
  limit=$(sed -n 's/^# limit: *//p' "$testbed/scenarios/$name.sh" | head -1)
  export LOGS=/mnt/$name
  mkdir -p "$LOGS"
  echo "== $name"
  timeout -s KILL "$limit" unshare --fork --kill-child --pid --mount --propagation private \
    bash "$testbed/guest/scenario.sh" "$name" 2>&1 | tee "$LOGS/scenario.log"
  status=${PIPESTATUS[0]}
  ((status == 137)) && echo "time limit of $limit s" | tee -a "$LOGS/scenario.log"
  if ! adapters_are_gone; then
    echo "controllers are left after the scenario: $(ls /sys/class/bluetooth)" | tee -a "$LOGS/scenario.log"
    status=1
  fi
  dmesg >"$LOGS/dmesg.log"
  cp -r "$LOGS/." "/share/$name/"
  rm -rf "$LOGS"
  # Renamed into place: the host reads a whole status or none.
  echo "$status" >"/share/$name/.status" && mv "/share/$name/.status" "/share/$name/status"
  echo "== $name: $( ((status)) && echo "FAILED ($status)" || echo passed) in $((SECONDS - started)) s"
}

# The kernel takes a controller away a moment after its btvirt has ended.
adapters_are_gone() {
  local tries
  for tries in {1..50}; do
    [[ -z $(ls /sys/class/bluetooth) ]] && return 0
    sleep 0.1
  done
  echo "(waited for $tries tenths of a second)"
  return 1
}

main
