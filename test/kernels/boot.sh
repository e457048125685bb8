#!/bin/bash
# boot.sh KERNEL SECONDS COMMAND... : runs COMMAND as root in a guest with that kernel (see fetch.sh). The guest's root is
# this machine's, read-only under a tmpfs, so node and the checkout are there. Prints what the command prints and exits
# with its status; 125: the guest did not answer. SMP and MEM change the machine.
set -u
cache=${UNDERSPAN_KERNELS:-$HOME/.cache/underspan-kernels}
name=$1 limit=$2
shift 2
tree=$cache/k/$name
image=$(ls "$tree"/boot/vmlinuz-* "$tree"/usr/lib/modules/*/vmlinuz 2>/dev/null | head -1)
modules=$(ls -d "$tree"/lib/modules/* | head -1)
release=$(basename "$modules")

attempt() {
	out=$(mktemp -d -t underspan-guest.XXXXXX)
	printf 'cd %q\n%s\n' "$PWD" "$*" >"$out/command"
	cat >"$out/guest.sh" <<GUEST
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb
mount -t cgroup2 cgroup /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t tracefs tracefs /sys/kernel/tracing
mount -t securityfs securityfs /sys/kernel/security
mkdir -p /lib/modules/$release && mount --bind $modules /lib/modules/$release
ip link set lo up
ulimit -n 65536
export UNDERSPAN_TEST_PATIENCE=20
/bin/bash /run/out/command >/run/out/stdout 2>/run/out/stderr
echo \$? >/run/out/status
sync
echo b >/proc/sysrq-trigger
GUEST
	timeout -k 5 "$limit" nice -n 19 qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp "${SMP:-1}" -m "${MEM:-2G}" \
		-machine q35 -nodefaults -display none -no-reboot -kernel "$image" -initrd "$tree.cpio.gz" \
		-append "console=ttyS0 panic=-1 rdinit=/init mitigations=off nokaslr random.trust_cpu=on quiet" \
		-serial "file:$out/console" -object rng-random,filename=/dev/urandom,id=r0 -device virtio-rng-pci,rng=r0 \
		-fsdev local,id=f0,path=/,security_model=none,readonly=on,multidevs=remap \
		-device virtio-9p-pci,fsdev=f0,mount_tag=hostroot \
		-fsdev "local,id=f1,path=$out,security_model=none" -device virtio-9p-pci,fsdev=f1,mount_tag=out \
		</dev/null >"$out/qemu.log" 2>&1
}

# The emulator's own faults may be tried again: an int3 that it lost while code was patched, a guest that never came up.
# Whatever the command itself says stands.
for turn in 1 2 3; do
	attempt "$@"
	[ -e "$out/status" ] && break
	if grep -q 'Oops: int3' "$out/console" || [ ! -e "$out/stdout" ]; then
		[ "$turn" -lt 3 ] && rm -rf "$out" && continue
	fi
	break
done
cat "$out/stdout" 2>/dev/null
cat "$out/stderr" >&2 2>/dev/null
status=$(cat "$out/status" 2>/dev/null || echo 125)
[ "$status" = 125 ] && tail -20 "$out/console" "$out/qemu.log" >&2
rm -rf "$out"
exit "$status"
