#!/bin/bash
# First process of a scenario's namespaces: fresh /run, /proc and BlueZ state, then the scenario itself.
set -Eeuo pipefail
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mkdir -p /var/lib/bluetooth
mount -t tmpfs tmpfs /var/lib/bluetooth
# shellcheck source=lib.sh
source "$testbed/guest/lib.sh"
# An error in arithmetic leaves the file it is in, whatever the shell's settings: only the last line's end is the end.
# shellcheck source=/dev/null
{
  source "$testbed/scenarios/$1.sh"
  came_to_its_end=1
}
[[ ${came_to_its_end:-} ]] || fail "the scenario did not come to its end"
finish
