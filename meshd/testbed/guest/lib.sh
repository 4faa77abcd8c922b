# The words scenarios are written in. README.md lists them. Sourced by scenario.sh in the guest.
# shellcheck shell=bash disable=SC2154  # testbed, bin, probe, handles come from boot.sh

# /tmp stays the host's, read-only in effect: a developer's programs may be there.
export RUN=/run/testbed TMPDIR=/run/testbed
mkdir -p "$RUN"
declare -A AIR_PID=() AIR_REPEAT_PID=() AIR_ADAPTERS=() NODE_PID=() NODE_PORT=()
BUS_PID='' BLUETOOTHD_PID='' BTMON_PID='' HOG_PID='' WAITED_MS=0
# Reading from it waits without starting a process.
mkfifo "$RUN/never" && exec {NEVER}<>"$RUN/never"
# Subshells only end; the shell that started them reports.
trap '((BASHPID != $$)) || fail "line $LINENO of ${BASH_SOURCE[0]##*/}: $BASH_COMMAND"' ERR

# How long the bed's own processes may take to come up, in seconds, on a host busy with other work.
SETUP_S=60

# --- talk, conditions, figures ---

say() { printf '[%7.2f] %s\n' "$(clock_s)" "$*"; }

fail() {
  trap - ERR
  say "FAILED: $*" >&2
  show_bluetoothd
  finish 1
}

# What bluetoothd is at, for who wonders why it does not answer: waiting, or going round in circles.
show_bluetoothd() {
  [[ $BLUETOOTHD_PID ]] && bluetoothd_is_up || return 0
  {
    cat "/proc/$BLUETOOTHD_PID/stat" "/proc/$BLUETOOTHD_PID/stack"
    if type strace; then timeout 2 strace -tt -p "$BLUETOOTHD_PID" 2>&1 | head -200; fi
  } >>"$LOGS/bluetoothd-at-the-end.log" 2>&1 || true
}

# finish [STATUS]: ends btmon in good order, then the scenario, and with its first process all others.
finish() {
  btmon_stop
  exit "${1:-0}"
}

now_ms() { echo $((${EPOCHREALTIME/./} / 1000)); }

clock_s() { cut -d' ' -f1 /proc/uptime; }

# wait_for COMMAND SECONDS [APART]: until the command succeeds, which is looked at every APART seconds (0.05); sets WAITED_MS.
# Fails the scenario when time is up.
wait_for() {
  try_for "$@" || fail "not within $2 s: $1"
}

# try_for COMMAND SECONDS [APART]: as wait_for, but only returns 1 when time is up.
try_for() {
  local start deadline
  start=$(now_ms)
  deadline=$((start + $(printf '%.0f' "${2}e3")))
  until eval "$1" >/dev/null 2>&1; do
    (($(now_ms) < deadline)) || return 1
    pause "${3:-0.05}"
  done
  WAITED_MS=$(($(now_ms) - start))
}

# pause SECONDS: lets others have the machine, between two looks that cost something.
pause() { read -rt "$1" -u "$NEVER" || true; }

# stays COMMAND SECONDS: the command succeeds all the time.
stays() {
  if try_for "! { $1; }" "$2"; then fail "ended within $2 s: $1"; fi
}

# figure NAME VALUE: a measured number, into figures.jsonl of the results.
figure() {
  say "$1 = $2"
  jq -cn --arg name "$1" --argjson value "$2" '{name: $name, value: $value}' >>"$LOGS/figures.jsonl"
}

# --- the air: btvirt processes, whose controllers hear each other and nobody else ---

# air_up NAME [COUNT]: a new air with that many controllers (2).
air_up() {
  local air=$1 count=${2:-2} try
  [[ -z ${AIR_PID[$air]:-} ]] || fail "air $air is up already"
  for try in 1 2 3; do
    start_btvirt "$air" "$count"
    # The kernel gives a controller 2 s to answer its first command; on a busy host btvirt may miss that.
    if try_for "controllers_are_set_up ${AIR_ADAPTERS[$air]}" 10; then break; fi
    ((try < 3)) || fail "controllers do not answer: $(dmesg | grep 'Bluetooth: hci' | tail -1)"
    stop_btvirt "$air"
  done
  # shellcheck disable=SC2086  # one argument each
  /usr/bin/python3 "$testbed/guest/repeat_adverts.py" ${AIR_ADAPTERS[$air]} >>"$LOGS/btvirt-$air.log" 2>&1 &
  AIR_REPEAT_PID[$air]=$!
  say "air $air: ${AIR_ADAPTERS[$air]}"
}

start_btvirt() {
  local air=$1 count=$2 before
  before=$(adapters)
  LD_PRELOAD=$handles btvirt "-l$count" >>"$LOGS/btvirt-$air.log" 2>&1 &
  AIR_PID[$air]=$!
  wait_for "(( \$(adapters | wc -l) == $(wc -w <<<"$before") + $count ))" "$SETUP_S"
  AIR_ADAPTERS[$air]=$(comm -13 <(sort <<<"$before") <(adapters | sort) | sort -V | paste -sd' ')
}

# A controller has its address once the kernel has set it up.
controllers_are_set_up() {
  local adapter
  for adapter; do
    hciconfig "$adapter" | grep -q 'BD Address' || return 1
    if hciconfig "$adapter" | grep -q 'BD Address: 00:00:00:00:00:00'; then return 1; fi
  done
}

stop_btvirt() {
  local adapter
  kill_and_reap "${AIR_PID[$1]}" KILL
  for adapter in ${AIR_ADAPTERS[$1]}; do wait_for "[[ ! -e /sys/class/bluetooth/$adapter ]]" "$SETUP_S"; done
  unset "AIR_PID[$1]" "AIR_ADAPTERS[$1]"
}

# air_down NAME: its controllers vanish, as when they are unplugged or walk out of range.
air_down() {
  kill_and_reap "${AIR_REPEAT_PID[$1]}" TERM
  stop_btvirt "$1"
  say "air $1 is gone"
}

# out_of_range, in_range: nobody hears anybody's advertisements, until they do again; see handles.c. Connections stay.
out_of_range() {
  [[ $handles ]] || fail "this btvirt's air has no distance"
  : >"$RUN/out-of-range"
}
in_range() { rm "$RUN/out-of-range"; }

# adapter_of AIR N: the N-th controller of an air, counted from 1, as hciX.
adapter_of() {
  local list
  read -ra list <<<"$(adapters_of "$1")"
  echo "${list[$2 - 1]:?air $1 has no controller $2}"
}

adapters_of() { echo "${AIR_ADAPTERS[$1]:?no air $1}"; }

# Beside them the kernel lists connections, as hci0:42.
adapters() { ls /sys/class/bluetooth | grep -v : || true; }

# address_of hciX: its public address as BlueZ knows it.
address_of() { adapter_property "$1" Address | tr -d '"'; }

# block hciX, unblock hciX: rfkill, the state of a fresh Raspberry Pi OS.
block() { set_rfkill "$1" 1; }
unblock() { set_rfkill "$1" 0; }

set_rfkill() {
  local switch
  for switch in "/sys/class/bluetooth/$1"/rfkill*/soft; do echo "$2" >"$switch"; done
}

# power hciX on|off: as an administrator would through BlueZ.
power() {
  local value=false
  [[ $2 == on ]] && value=true
  dbus-send --system --print-reply --dest=org.bluez "/org/bluez/$1" org.freedesktop.DBus.Properties.Set \
    string:org.bluez.Adapter1 string:Powered "variant:boolean:$value" >/dev/null
}

adapter_property() { property_of "$1" Adapter1 "$2"; }

# advertisements_of hciX: how many clients' advertisements BlueZ holds.
advertisements_of() { property_of "$1" LEAdvertisingManager1 ActiveInstances; }

property_of() {
  dbus-send --system --print-reply=literal --reply-timeout=5000 --dest=org.bluez "/org/bluez/$1" \
    org.freedesktop.DBus.Properties.Get "string:org.bluez.$2" "string:$3" | awk '{print $NF}'
}

# --- the system bus and bluetoothd ---

start_bus() {
  mkdir -p /run/dbus
  dbus-daemon --system --nofork --nopidfile >>"$LOGS/dbus.log" 2>&1 &
  BUS_PID=$!
  wait_for "[[ -S /run/dbus/system_bus_socket ]]" $SETUP_S
}

# kill_bus: with bluetoothd, which ends when its bus does.
kill_bus() {
  kill_and_reap "$BUS_PID" KILL
  wait "$BLUETOOTHD_PID" 2>/dev/null || true
  rm -f /run/dbus/system_bus_socket
}

# bluetoothd_conf TEXT: main.conf for the next start, such as $'[GATT]\nChannels = 1'.
bluetoothd_conf() { printf '%s\n' "$1" >"$RUN/main.conf"; }

# bluetoothd_is_up: it has not ended by itself, which it does when it crashes.
bluetoothd_is_up() { kill -0 "$BLUETOOTHD_PID" 2>/dev/null; }

# start_bluetoothd: with the bus if that is not up; waits until it answers and knows every controller.
start_bluetoothd() {
  launch_bluetoothd
  wait_for bluetoothd_is_ready $SETUP_S
}

# launch_bluetoothd: the same without waiting for it.
launch_bluetoothd() {
  [[ -S /run/dbus/system_bus_socket ]] || start_bus
  [[ -e $RUN/main.conf ]] || bluetoothd_conf '[General]'
  /usr/libexec/bluetooth/bluetoothd -n -f "$RUN/main.conf" >>"$LOGS/bluetoothd.log" 2>&1 &
  BLUETOOTHD_PID=$!
}

bluetoothd_is_ready() {
  local adapter
  bluez_is_on_the_bus || return 1
  for adapter in $(adapters); do adapter_property "$adapter" Address || return 1; done
  [[ -n $(adapters) ]] || bluez_answers
}

# Asked of the bus itself: a call to an absent BlueZ would make the bus try to start one.
bluez_is_on_the_bus() {
  dbus-send --system --print-reply=literal --dest=org.freedesktop.DBus / \
    org.freedesktop.DBus.NameHasOwner string:org.bluez | grep -q true
}

bluez_answers() {
  dbus-send --system --print-reply --reply-timeout=2000 --dest=org.bluez / \
    org.freedesktop.DBus.ObjectManager.GetManagedObjects >/dev/null
}

# bluetoothd_spins: it goes round in circles (docs/ble.md, 16). While a call gets no answer for 2 s it uses most of a core, and
# reads on and on and gets nothing; what keeps it busy with calls, as a fault of a node's would, is no such thing.
bluetoothd_spins() {
  local pid=${1:-$BLUETOOTHD_PID} since=0 used=0 reads=0 got=0
  since=$(now_ms)
  read -r used reads got <<<"$(work_of "$pid")" || return 1
  if bluez_answers; then return 1; fi
  until (($(now_ms) - since >= 1500)); do pause 0.2; done
  since=$(($(now_ms) - since))
  local used_then=$used reads_then=$reads got_then=$got
  read -r used reads got <<<"$(work_of "$pid")" || return 1
  used=$((used - used_then)) reads=$((reads - reads_then)) got=$((got - got_then))
  say "bluetoothd gave no answer for $since ms, used $used ms, read $reads times and got $got bytes"
  ((used * 10 >= since * 6 && reads >= 1000 && got * 100 <= reads))
}

# work_of PID: processor time in milliseconds, reads, and the bytes they got. Messages of the bus are not read in this sense.
work_of() {
  awk '/^rchar/ { got = $2 } /^syscr/ { reads = $2 } FILENAME ~ /stat$/ { used = ($14 + $15) * 10 }
    END { print used, reads, got }' "/proc/$1/io" "/proc/$1/stat"
}

# kill_bluetoothd: SIGKILL, as a crash. stop_bluetoothd: SIGTERM, as an upgrade.
kill_bluetoothd() { kill_and_reap "$BLUETOOTHD_PID" KILL; }
stop_bluetoothd() { kill_and_reap "$BLUETOOTHD_PID" TERM; }

# hang_bluetoothd, resume_bluetoothd: SIGSTOP and SIGCONT.
hang_bluetoothd() { kill -STOP "$BLUETOOTHD_PID"; }
resume_bluetoothd() { kill -CONT "$BLUETOOTHD_PID"; }

kill_and_reap() {
  kill "-$2" "$1"
  wait "$1" 2>/dev/null || true
}

# --- btmon: every byte between the host and its controllers ---

# btmon_start [NAME]: captures into NAME.btsnoop of the results ("air").
btmon_start() {
  local file=$LOGS/${1:-air}.btsnoop
  nice -n -10 btmon -w "$file" >/dev/null 2>&1 &
  BTMON_PID=$!
  wait_for "[[ -s $file ]]" $SETUP_S
}

btmon_stop() {
  [[ -n $BTMON_PID ]] || return 0
  kill -TERM "$BTMON_PID" 2>/dev/null || true
  wait "$BTMON_PID" 2>/dev/null || true
  BTMON_PID=''
}

# air_report [NAME]: what a capture holds, as JSON; see probe/src/capture.rs.
air_report() { "$probe" capture "$LOGS/${1:-air}.btsnoop"; }

# hog hciX advertisements|HANDLE: a program that holds all advertisements, or a service at that handle; unhog ends it.
hog() {
  : >"$LOGS/hog.json"
  "$probe" hog "$@" >"$LOGS/hog.json" 2>>"$LOGS/hog.log" &
  HOG_PID=$!
  wait_for "[[ -s $LOGS/hog.json ]]" "$SETUP_S"
}

unhog() { kill_and_reap "$HOG_PID" KILL; }

# keep_inquiring hciX: the controller is at a periodic inquiry, so the kernel refuses to begin a discovery; stop_inquiring ends that.
keep_inquiring() { wait_for "hcitool -i $1 spinq" 10; }
stop_inquiring() { wait_for "hcitool -i $1 epinq" 10; }

# --- nodes ---

# What nodes write into their logs.
LOG=info,meshd=debug,meshd::link::ble=trace,meshd::http=info

# start_node NAME ARGUMENTS...: a meshd with a state directory and port of its own, kept over restarts.
start_node() {
  local name=$1 dir=$RUN/node/$1
  shift
  mkdir -p "$dir"
  : "${NODE_PORT[$name]:=$((7001 + ${#NODE_PORT[@]}))}"
  rm -f "$dir/api.json"
  # The radio is what is tested; a scenario may still say --lan.
  MESHD_NO_LAN=1 "$bin/${NODE_PROGRAM:-meshd}" --state-dir "$dir" --socket "$dir/meshd.sock" --listen "127.0.0.1:${NODE_PORT[$name]}" \
    --no-lan --name "$name" "$@" >>"$LOGS/$name.log" 2>&1 &
  NODE_PID[$name]=$!
  wait_for "[[ -e $dir/api.json ]] || ! node_is_up $name" $SETUP_S
  node_is_up "$name" || fail "node $name ended at once: $(tail -1 "$LOGS/$name.log")"
}

node_is_up() { kill -0 "${NODE_PID[$1]}" 2>/dev/null; }

# memory_of NAME: what a node has in memory, in KiB.
memory_of() { awk '/VmRSS/ { print $2 }' "/proc/${NODE_PID[$1]}/status"; }

# stop_node NAME [SIGNAL]: TERM unless told; waits for its end.
stop_node() { kill_and_reap "${NODE_PID[$1]}" "${2:-TERM}"; }

# ctl NAME ARGUMENTS...: meshctl as that node's user.
ctl() {
  local dir=$RUN/node/$1
  shift
  "$bin/meshctl" --state-dir "$dir" --socket "$dir/meshd.sock" "$@"
}

# send NAME TEXT [ARGUMENTS...]: sends to #mesh and prints the message's id.
send() {
  local name=$1 text=$2
  shift 2
  ctl "$name" --json send "$text" "$@" | jq -er .id
}

# inbox NAME: the texts the node has, one JSON string a line, its own included.
inbox() { ctl "$1" --json list | jq -c '.[].text'; }

# get NAME PATH: the node's API, into ANSWER. Starts no process: in the emulation a poll that does takes a second.
get() {
  local node port=${NODE_PORT[$1]} token status
  read -r token <"$RUN/node/$1/api-token"
  ANSWER=''
  exec {node}<>"/dev/tcp/127.0.0.1/$port" || return 1
  printf 'GET %s HTTP/1.0\r\nHost: 127.0.0.1:%s\r\nAuthorization: Bearer %s\r\n\r\n' "$2" "$port" "$token" >&"$node"
  read -r _ status _ <&"$node" || true
  IFS= read -rd '' ANSWER <&"$node" || true
  ANSWER=${ANSWER#*$'\r\n\r\n'}
  exec {node}>&-
  [[ $status == 200 ]]
}

# post NAME TEXT: sends to #mesh, as `send` does, without starting a process. The answer is in ANSWER.
post() {
  local node port=${NODE_PORT[$1]} token status
  read -r token <"$RUN/node/$1/api-token"
  exec {node}<>"/dev/tcp/127.0.0.1/$port" || return 1
  printf 'POST /v1/messages?to=%%23mesh HTTP/1.0\r\nHost: 127.0.0.1:%s\r\nAuthorization: Bearer %s\r\nContent-Type: text/plain\r\nContent-Length: %s\r\n\r\n%s' \
    "$port" "$token" "${#2}" "$2" >&"$node"
  read -r _ status _ <&"$node" || true
  exec {node}>&-
  [[ $status == 201 ]]
}

# post_mebibyte NAME: 66 messages of 16,000 bytes.
post_mebibyte() {
  local filling n
  printf -v filling '%16000s' ''
  filling=${filling// /x}
  for n in {1..66}; do post "$1" "$n $filling" || fail "message $n was not taken"; done
}

# number NAME PATH FIELD: a number in an answer of the node's API, the first by that name.
number() {
  get "$1" "$2"
  [[ $ANSWER =~ \"$3\":([0-9]+) ]]
  echo "${BASH_REMATCH[1]}"
}

# answer_has JSON: how often the last answer has that, as the API writes it.
answer_has() {
  local rest=${ANSWER//"$1"/}
  echo $(((${#ANSWER} - ${#rest}) / ${#1}))
}

# has NAME TEXT: the node has that text exactly once.
has() { get "$1" '/v1/messages?limit=500' && [[ $(answer_has "\"text\":\"$2\"") == 1 ]]; }

# status_of NAME ID: pending, synced, ... as the node's API says.
status_of() {
  get "$1" "/v1/messages/$2"
  [[ $ANSWER =~ \"status\":\"([a-z]+)\" ]]
  echo "${BASH_REMATCH[1]}"
}

# ble_is NAME STATE: all its Bluetooth transports are in that state.
ble_is() {
  get "$1" /v1/status
  (($(answer_has '"kind":"ble"') > 0 && $(answer_has '"kind":"ble"') == $(grep -o '{"kind":"ble"[^}]*' <<<"$ANSWER" | grep -c "\"state\":\"$2\"")))
}

# links_of NAME: how many links over Bluetooth it has.
links_of() {
  get "$1" /v1/links
  answer_has '"kind":"ble"'
}

# start_relay [ARGUMENTS...]: a relay on port 7000.
start_relay() {
  "$bin/meshlink-relay" --listen 127.0.0.1:7000 "$@" >>"$LOGS/relay.log" 2>&1 &
  wait_for "(: </dev/tcp/127.0.0.1/7000)" $SETUP_S
}
