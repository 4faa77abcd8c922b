#!/bin/bash
# First process of a scenario's namespaces: fresh /run, /proc and BlueZ state, then the scenario itself.
set -Eeuo pipefail
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mkdir -p /var/lib/bluetooth
mount -t tmpfs tmpfs /var/lib/bluetooth
# shellcheck source=lib.sh
source "$testbed/guest/lib.sh"
# shellcheck source=/dev/null
source "$testbed/scenarios/$1.sh"
finish
