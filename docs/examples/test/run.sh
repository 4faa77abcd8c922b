#!/bin/sh
# Drives the chat page, and pages that should get nowhere, in headless Chromium against a real meshd.
# Needs node (18 or newer), chromium, and a built meshd: MESHD, else the one of the last `cargo build`.
set -eu
cd "$(dirname "$0")"
command -v node >/dev/null || { echo "run.sh: node is missing: apt-get install nodejs" >&2; exit 1; }
if [ -z "${CHROMIUM:-}" ]; then
    CHROMIUM=$(command -v chromium || command -v chromium-browser || command -v google-chrome) ||
        { echo "run.sh: chromium is missing: apt-get install chromium" >&2; exit 1; }
fi
MESHD=${MESHD:-${CARGO_TARGET_DIR:-../../../target}/debug/meshd}
[ -x "$MESHD" ] || { echo "run.sh: $MESHD is missing: cargo build -p meshd" >&2; exit 1; }
export CHROMIUM MESHD
exec node chat.test.mjs
