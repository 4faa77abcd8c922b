#!/bin/bash
# Measures the relay against Bun's, in turn, on this machine: relays on core 0, clients on core 1.
#   relay/bench/run.sh [ROUNDS] [SECONDS]
# Bun comes from npm into a temporary directory unless BUN names a binary; BUN=none leaves it out. PEERS adds others:
#   PEERS="epoll=env PORT={port} /path/to/epoll" relay/bench/run.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-5} seconds=${2:-2}
target=${CARGO_TARGET_DIR:-target}
cargo build --quiet --release -p meshlink-relay --bin meshlink-relay --example fanout
relays=("meshlink-relay=$target/release/meshlink-relay --listen 127.0.0.1:{port} --max-rate 0")
if [[ ${BUN:=} != none ]]; then
  if [[ -z $BUN ]]; then
    bun_directory=$(mktemp -d)
    trap 'rm -rf "$bun_directory"' EXIT
    npm install --silent --no-audit --no-fund --prefix "$bun_directory" bun >/dev/null
    BUN=$(find "$bun_directory/node_modules/bun/bin" -name 'bun*' -size +1M | head -n 1)
  fi
  relays+=("bun=env PORT={port} $BUN relay/bench/bun-relay.ts")
fi
[[ -z ${PEERS:-} ]] || relays+=("$PEERS")
# Every client is a socket here and one in the relay.
ulimit -n "$(ulimit -Hn)"
fanout=("$target/release/examples/fanout" --seconds "$seconds")
# With more than one core each side gets one.
pin=()
if command -v taskset >/dev/null && (($(nproc) > 1)); then
  relays=("${relays[@]/=/=taskset -c 0 }")
  pin=(taskset -c 1)
fi
"${pin[@]}" "${fanout[@]}" --rounds "$rounds" --subscribers 10,100,999 --window 64 "${relays[@]}"
# Latency at a low rate: on a machine with other work, what counts is that work, unless both sides come first.
if chrt -f 1 true 2>/dev/null; then
  relays=("${relays[@]/=/=chrt -f 1 }")
  pin=(chrt -f 1 "${pin[@]}")
  echo "(next: with real-time priority)"
fi
"${pin[@]}" "${fanout[@]}" --rounds $((2 * rounds)) --subscribers 100 --rate 500 "${relays[@]}"
