# What a run needs on the host: Debian packages, scenario files, programs. Sourced by ../run.
# shellcheck shell=bash disable=SC2154  # testbed, root, bin, out come from ../run

# program:package, for what the test bed itself calls on the host or, through the shared root, in the guest.
programs=(
  qemu-system-x86_64:qemu-system-x86 busybox:busybox-static cpio:cpio depmod:kmod btvirt:bluez-test-tools
  cc:gcc xz:xz-utils bluetoothctl:bluez dbus-daemon:dbus systemd-sysusers:systemd jq:jq /usr/bin/python3:python3
)

install_missing_packages() {
  [[ $(uname -m) == x86_64 ]] || die "the test bed's VM is x86_64 only and this machine is $(uname -m)"
  local entry missing=()
  for entry in "${programs[@]}"; do
    PATH=$PATH:/usr/sbin:/sbin command -v "${entry%%:*}" >/dev/null || missing+=("${entry#*:}")
  done
  ((${#missing[@]})) || return 0
  local install="apt-get install -y --no-install-recommends ${missing[*]}"
  command -v apt-get >/dev/null || die "this needs ${missing[*]} (Debian's names); install them and run again"
  ((EUID == 0)) || die "missing packages; run as root: $install"
  echo "testbed: installing ${missing[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $install -qq >"$out/apt.log" 2>&1 || die "apt-get failed; see $out/apt.log"
}

scenario_names() {
  local file
  for file in "$testbed"/scenarios/*.sh; do basename "$file" .sh; done
}

list_scenarios() {
  local name
  for name in $(scenario_names); do
    printf '%-18s %s\n' "$name" "$(sed -n '1s/^# //p' "$testbed/scenarios/$name.sh")"
  done
}

# header NAME KEY: the value of the line "# KEY: value" among the scenario's leading comments.
header() {
  sed -n "/^[^#]/q; s/^# $2: *//p" "$testbed/scenarios/$1.sh"
}

build_what_is_needed() {
  local name program needed=()
  for name; do
    read -ra programs_of_it <<<"$(header "$name" needs)"
    needed+=("${programs_of_it[@]}")
  done
  for program in $(printf '%s\n' "${needed[@]}" | sort -u); do
    case $program in
      probe) build_probe ;;
      meshd-btleplug)
        [[ -x $bin/$program ]] || die "no $bin/$program: cargo build --workspace --features meshd/btleplug, copy meshd to it, build again without"
        ;;
      *) [[ -x $bin/$program ]] || die "no $bin/$program; build it (cargo build -p $program) or pass --bin DIR" ;;
    esac
  done
  bin=$(realpath -m "$bin")
}

build_probe() {
  local target=${CARGO_TARGET_DIR:-$root/target/testbed-probe}
  cargo build --quiet --release --locked --manifest-path "$testbed/probe/Cargo.toml" --target-dir "$target" \
    || die "the probe does not build; see above"
  probe=$(realpath "$target/release/radio-probe")
}
