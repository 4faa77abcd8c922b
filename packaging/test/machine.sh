# A Debian machine to install on: a root file system made by debootstrap once, an overlay over it for each test,
# and systemd booted in namespaces of its own. Sourced by ./run; needs root. Nothing of it outlives the shell.
# shellcheck shell=bash

cache=${MESHLINK_DEBIAN_CACHE:-/var/tmp/meshlink-debian}
suite=${MESHLINK_DEBIAN_SUITE:-bookworm}
machine=
init_pid=

# The mirror that this machine's own apt uses.
mirror() {
    apt-get indextargets --format '$(SITE) $(CREATED_BY)' | awk '$2 == "Packages" {print $1; exit}'
}

# What stays the same between tests: a small Debian with systemd and a bus.
prepare_base() {
    mkdir -p "$cache"
    exec 8>"$cache/.lock"
    flock 8
    if [ ! -d "$cache/$suite" ]; then
        rm -rf "$cache/$suite.new"
        echo "machine: making a Debian $suite in $cache (once)"
        debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,procps,curl \
            "$suite" "$cache/$suite.new" "$(mirror)" >"$cache/debootstrap.log" 2>&1 ||
            { tail -n 5 "$cache/debootstrap.log" >&2 && return 1; }
        rm -rf "$cache/$suite.new/var/cache/apt/archives"/*.deb
        mv "$cache/$suite.new" "$cache/$suite"
    fi
    flock -u 8
}

# new_machine: a fresh overlay, with what a running kernel gives.
new_machine() {
    machine=$(mktemp -d)
    mount -t tmpfs tmpfs "$machine"
    mkdir "$machine"/{upper,work,root}
    mount -t overlay -o "lowerdir=$cache/$suite,upperdir=$machine/upper,workdir=$machine/work" overlay "$machine/root"
    root=$machine/root
    mount -t tmpfs -o mode=755 tmpfs "$root/dev"
    local node
    for node in null:3 zero:5 full:7 random:8 urandom:9; do
        mknod -m 666 "$root/dev/${node%:*}" c 1 "${node#*:}"
    done
    mknod -m 666 "$root/dev/tty" c 5 0
    mkdir "$root/dev/pts" "$root/dev/shm"
    ln -s /proc/self/fd "$root/dev/fd"
    echo meshlink-test >"$root/etc/hostname"
    : >"$root/etc/machine-id"
}

# boot: systemd as the first process, in namespaces of its own. Waits until it is up.
boot() {
    local group=/sys/fs/cgroup
    [ -e $group/cgroup.controllers ] || group=/sys/fs/cgroup/unified
    group=$group/meshlink-test-$$
    mkdir -p "$group"
    # The shell's own place in the tree becomes the machine's root of it.
    (
        echo "$BASHPID" >"$group/cgroup.procs"
        exec unshare --fork --kill-child --pid --mount --cgroup --ipc --uts --net --propagation private \
            bash -c '
                mount -t proc proc "$1/proc"
                mount -t sysfs sysfs "$1/sys"
                mount -t cgroup2 cgroup2 "$1/sys/fs/cgroup"
                mount -t tmpfs -o mode=755 tmpfs "$1/run"
                mount -t tmpfs -o mode=1777 tmpfs "$1/tmp"
                mount -t tmpfs tmpfs "$1/dev/shm"
                mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts "$1/dev/pts"
                ln -s pts/ptmx "$1/dev/ptmx"
                cd "$1" && mkdir -p oldroot && pivot_root . oldroot && umount -l /oldroot && rmdir /oldroot
                exec env -i container=meshlink-test /lib/systemd/systemd --log-target=journal --show-status=false \
                    </dev/null >/dev/null 2>&1
            ' boot "$root"
    ) 2>"$machine/boot.log" &
    unshare_pid=$!
    for _ in $(seq 300); do
        init_pid=$(pgrep -P "$unshare_pid" || true)
        [ -n "$init_pid" ] && inside systemctl is-system-running 2>/dev/null | grep -qE 'running|degraded' && return
        sleep 0.1
    done
    echo "machine: systemd did not come up" >&2
    inside systemctl --no-pager list-jobs >&2 || true
    return 1
}

# inside COMMAND...: in the booted machine, as root. as USER COMMAND...: as somebody else.
inside() {
    nsenter --target "$init_pid" --all --wd=/ -- env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 "$@"
}
as() {
    local user=$1
    shift
    inside env HOME="/home/$user" setpriv --reuid "$user" --regid "$(inside id -g "$user")" --init-groups --inh-caps=-all "$@"
}

# in_root COMMAND...: in the machine's files without a boot, as installers of images do.
in_root() {
    chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
}

end_machine() {
    if [ -n "$init_pid" ]; then
        kill -KILL "$init_pid" 2>/dev/null || true
        wait "$unshare_pid" 2>/dev/null || true
        init_pid=
    fi
    if [ -n "$machine" ]; then
        umount -R "$machine" 2>/dev/null || umount -Rl "$machine"
        rmdir "$machine"
        machine=
    fi
    rmdir /sys/fs/cgroup/unified/meshlink-test-$$ /sys/fs/cgroup/meshlink-test-$$ 2>/dev/null || true
}
