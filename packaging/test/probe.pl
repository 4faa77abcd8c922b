#!/usr/bin/perl
# Code of an attacker in the service (threat D-01): tries what a mesh daemon never needs, one line for each try,
# "escaped NAME" or "held NAME: why". With an argument it leaves out what would disturb the whole machine. Perl, because every Debian has it and it can make any system call.
use strict;
use warnings;
use Socket qw(AF_UNIX AF_INET SOCK_RAW SOCK_STREAM SOCK_DGRAM);

$| = 1;
my %call = (    # x86_64
    mmap => 9, ptrace => 101, mount => 165, init_module => 175, unshare => 272, setns => 308,
    clock_settime => 227, sethostname => 170, chroot => 161, bpf => 321, personality => 135, mknod => 133,
    setuid => 105, perf_event_open => 298,
);

my %disturbing = map { $_ => 1 } qw(trace-init load-module set-clock bpf perf write-sysctl write-sysfs write-cgroup replace-socket
    write-etc write-usr mount chroot become-root);

sub try {
    my ($name, $attempt) = @_;
    return if @ARGV && $disturbing{$name};
    $! = 0;
    my $got = eval { $attempt->() };
    printf "%s %s%s\n", $got ? 'escaped' : 'held', $name, $got ? '' : ': ' . ($@ || $!);
}

sub kernel { my ($name, @arguments) = @_; return syscall($call{$name}, @arguments) >= 0 }
sub text { my $buffer = shift; return $buffer }

my $zero = "\0" x 64;
my ($dir, $file, $socket);
try 'read-home'       => sub { opendir($dir, '/root') && grep { !/^\./ } readdir $dir };
try 'read-users-home' => sub { open($file, '<', '/home/ann/diary') };
try 'read-shadow'     => sub { open($file, '<', '/etc/shadow') };
try 'write-etc'       => sub { open($file, '>', '/etc/meshlink/meshd.toml') };
try 'write-usr'       => sub { open($file, '>', '/usr/bin/meshd') };
try 'write-var'       => sub { open($file, '>', '/var/lib/escaped') };
try 'write-socket-dir' => sub { open($file, '>', '/run/meshlink/escaped') };
try 'replace-socket'  => sub { rename('/run/meshlink/meshd.sock', '/run/meshlink/other') };
try 'write-shm'       => sub { open($file, '>', '/dev/shm/escaped') && -e '/proc/1/root/dev/shm/escaped' };
try 'write-sysctl'    => sub { open($file, '>', '/proc/sys/kernel/hostname') };
try 'write-sysfs'     => sub { open($file, '>', '/sys/power/state') };
try 'write-cgroup'    => sub { open($file, '>', '/sys/fs/cgroup/cgroup.procs') };
try 'see-processes'   => sub { opendir($dir, '/proc') && grep { /^\d+$/ && $_ != $$ } readdir $dir };
try 'trace-init'      => sub { kernel('ptrace', 16, 1, 0, 0) };
try 'trace-child'     => sub { my $child = fork // return 0; if (!$child) { sleep 5; exit }
                               my $got = kernel('ptrace', 16, $child, 0, 0); kill KILL => $child; $got };
try 'mount'           => sub { kernel('mount', text("none\0"), text("/tmp\0"), text("tmpfs\0"), 0, 0) };
try 'load-module'     => sub { kernel('init_module', $zero, 64, text("\0")) };
try 'new-namespace'   => sub { kernel('unshare', 0x10000000) };
try 'new-net'         => sub { kernel('unshare', 0x40000000) };
try 'set-clock'       => sub { my $time = pack('q2', time, 0); kernel('clock_settime', 0, $time) };
try 'set-hostname'    => sub { kernel('sethostname', text('escaped'), 7) };
try 'chroot'          => sub { kernel('chroot', text("/tmp\0")) };
try 'bpf'             => sub { kernel('bpf', 0, $zero, 64) };
try 'perf'            => sub { kernel('perf_event_open', $zero, 0, -1, -1, 0) };
try 'personality'     => sub { kernel('personality', 0x0040000) };
try 'become-root'     => sub { kernel('setuid', 0) && $< == 0 };
try 'make-device'     => sub { kernel('mknod', text("/tmp/disk\0"), 0060600, 0x0800) };
try 'make-setuid'     => sub { open($file, '>', "$ENV{STATE_DIRECTORY}/probe") && chmod(04755, "$ENV{STATE_DIRECTORY}/probe") };
try 'write-and-execute-memory' => sub { my $at = syscall($call{mmap}, 0, 4096, 7, 0x22, -1, 0); $at != -1 };
try 'raw-socket'      => sub { socket($socket, AF_INET, SOCK_RAW, 1) };
try 'packet-socket'   => sub { socket($socket, 17, SOCK_RAW, 0x0300) };
try 'vsock'           => sub { socket($socket, 40, SOCK_STREAM, 0) };
try 'read-disk'       => sub { open($file, '<', '/dev/vda') || open($file, '<', '/dev/sda') };
try 'read-kernel-log' => sub { open($file, '<', '/dev/kmsg') };
try 'run-a-shell'     => sub { system('/bin/sh', '-c', 'true') == 0 };
try 'run-own-program' => sub { my $path = "$ENV{STATE_DIRECTORY}/own"; open($file, '>', $path) or return 0;
                               print $file "#!/usr/bin/perl\nexit 0\n"; close $file; chmod 0755, $path;
                               my $got = system($path) == 0; unlink $path; $got };

# And what it does need, so that a wall around everything is no success.
try 'needed: write state' => sub { open($file, '>', "$ENV{STATE_DIRECTORY}/probe") && unlink "$ENV{STATE_DIRECTORY}/probe" };
try 'needed: read configuration' => sub { open($file, '<', '/etc/meshlink/meshd.toml') };
try 'needed: tcp'         => sub { socket($socket, AF_INET, SOCK_STREAM, 0) };
try 'needed: unix'        => sub { socket($socket, AF_UNIX, SOCK_STREAM, 0) };
try 'needed: netlink'     => sub { socket($socket, 16, SOCK_DGRAM, 0) };
try 'needed: system bus'  => sub { socket($socket, AF_UNIX, SOCK_STREAM, 0)
                                   && connect($socket, Socket::pack_sockaddr_un('/run/dbus/system_bus_socket')) };
