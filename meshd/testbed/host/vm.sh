# The virtual machine: Debian's kernel, prepared once, over this machine's own root file system. Sourced by ../run.
# shellcheck shell=bash disable=SC2154  # testbed, out, bin, probe, limit, settings, kernel_suite come from ../run and needs.sh

cache=${TESTBED_CACHE:-${XDG_CACHE_HOME:-/var/tmp}/meshlink-testbed}
# What the guest needs before it sees the host's files, then Bluetooth; btvirt needs the last three (AF_ALG).
modules=(virtio_pci 9p 9pnet_virtio overlay bluetooth hci_vhci ecdh_generic cmac ccm ecb
  algif_skcipher algif_hash aes_generic)

prepare_vm() {
  mkdir -p "$cache"
  exec 8>"$cache/.lock"
  flock 8
  # shellcheck source=/dev/null
  [[ $kernel_suite ]] || kernel_suite=$(source /etc/os-release && echo "$VERSION_CODENAME")
  kernel=$cache/kernel-$kernel_suite
  [[ -d $kernel ]] || fetch_kernel
  kernel_version=$(ls "$kernel/lib/modules")
  initrd=$cache/initrd-$kernel_version-$(cat "$testbed/guest/init" "$testbed/host/vm.sh" | sha256sum | cut -c1-12).gz
  [[ -f $initrd ]] || build_initrd
  build_handles
  flock -u 8
}

# What keeps btvirt's connections apart; see guest/handles.c. Later versions have not been tried with it.
build_handles() {
  handles=
  [[ $(btvirt --version) == 5.66 ]] || return 0
  handles=$cache/handles-$(sha256sum <"$testbed/guest/handles.c" | cut -c1-12).so
  [[ -f $handles ]] && return
  cc -shared -fPIC -O1 -Wall -Wextra -Werror -o "$handles.new" "$testbed/guest/handles.c" || die "guest/handles.c does not build"
  mv "$handles.new" "$handles"
}

# The kernel of a Debian suite, by apt with lists of its own: nothing of the machine's is changed. Without the security updates of a
# release: one of them brought the bug that README.md, "Pitfalls", tells of.
fetch_kernel() {
  local work=$cache/fetch image
  rm -rf "$work" && mkdir -p "$work"/{lists,archives}/partial
  echo "deb http://deb.debian.org/debian $kernel_suite main" >"$work/sources.list"
  local apt=(-o APT::Sandbox::User=root -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work")
  apt-get "${apt[@]}" update -qq || die "no kernel in the cache, and apt-get can't read the lists of $kernel_suite"
  image=$(apt-cache "${apt[@]}" depends linux-image-amd64 | awk '/Depends: linux-image-/ {print $2; exit}') || true
  [[ -n $image ]] || die "there is no linux-image-amd64 in $kernel_suite"
  echo "testbed: fetching $image into $cache (once)"
  (cd "$work" && apt-get "${apt[@]}" download -qq "$image") || die "could not download $image"
  dpkg -x "$work"/*.deb "$work/root"
  # Debian compresses modules from Linux 6.12 on; the guest's insmod takes them as they are meant.
  find "$work/root/lib/modules" -name '*.ko.xz' -exec xz -d {} +
  depmod -b "$work/root" "$(ls "$work/root/lib/modules")"
  mv "$work/root" "$kernel"
  rm -rf "$work"
}

build_initrd() {
  local tree=$cache/initrd number=0 module
  rm -rf "$tree" && mkdir -p "$tree"/{bin,modules,proc,sys,dev,host,overlay,new}
  cp "$(command -v busybox)" "$tree/bin/busybox"
  install -m 755 "$testbed/guest/init" "$tree/init"
  while read -r module; do
    cp "$module" "$tree/modules/$(printf %03d $number)-$(basename "$module")"
    number=$((number + 1))
  done < <(module_files)
  (cd "$tree" && find . | cpio --quiet -o -H newc | gzip -1) >"$initrd.new"
  mv "$initrd.new" "$initrd"
  rm -rf "$tree"
}

# Every module with what it depends on, in the order to load them. Some are built in: those have no file.
module_files() {
  local module
  for module in "${modules[@]}"; do
    /sbin/modprobe -d "$kernel" -S "$kernel_version" --show-depends "$module" 2>/dev/null || true
  done | awk '$1 == "insmod" && !seen[$2]++ {print $2}'
}

run_vm() {
  local name total=60
  for name; do
    rm -rf "${out:?}/$name"
    mkdir -p "$out/$name"
    total=$((total + $(header "$name" limit)))
  done
  write_job "$@"
  # The guest sees this machine's files read-only below a tmpfs, and writes only into $out. A kernel that hangs for a
  # minute ends it: what was to come gets its second try.
  timeout -k 5 "${limit:-$total}" qemu-system-x86_64 \
    -accel "${TESTBED_ACCEL:-tcg,thread=multi}" -cpu max -smp 2 -m 2048 \
    -nodefaults -no-user-config -no-reboot -display none -serial stdio -nic none \
    -kernel "$kernel/boot/vmlinuz-$kernel_version" -initrd "$initrd" \
    -append "console=ttyS0 quiet loglevel=3 panic=-1 softlockup_panic=1 watchdog_thresh=30 cryptomgr.notests" \
    -virtfs local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap \
    -virtfs "local,path=$out,mount_tag=share,security_model=none" \
    </dev/null 2>"$out/qemu.log" | tee "$out/console.log" || true
}

# The guest's orders, as a shell file in the shared folder.
write_job() {
  {
    printf '%s=%q\n' testbed "$testbed" bin "$bin" probe "${probe:-}" handles "$handles"
    # What a core is worth outside, for who measures processor time inside.
    [[ ${probe:-} ]] && printf 'export HOST_CORE_US=%q\n' "$("$probe" core | jq .core_us)"
    printf 'scenarios=(%s)\n' "$*"
    ((${#settings[@]})) && printf 'export %q\n' "${settings[@]}"
    true
  } >"$out/.job"
  printf '%s' "$testbed" >"$out/.testbed"
}

# Judged by the status file the guest wrote through the shared folder, never by console text.
report() {
  local name status passed=0 failed=0
  for name; do
    status=$(cat "$out/$name/status" 2>/dev/null || echo "none: the VM ended before the scenario did")
    if [[ $status == 0 ]]; then
      passed=$((passed + 1))
    else
      failed=$((failed + 1))
      echo "testbed: $name failed (status $status); see $out/$name/"
    fi
  done
  [[ -s $out/qemu.log ]] && ((failed)) && cat "$out/qemu.log" >&2
  echo "testbed: $passed passed, $failed failed"
  ((failed == 0))
}
