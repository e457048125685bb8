#!/bin/bash
# boot.sh KERNEL SECONDS COMMAND... : runs COMMAND as root in a guest with that kernel (see fetch.sh). The guest's root is
# this machine's, read-only under a tmpfs, so node and the checkout are there. Prints what the command prints and exits
# with its status; 125: the guest did not answer. SECONDS bounds all attempts together. SMP and MEM change the machine, NICE
# its share of this one; BOOT is how many seconds it may take to come up.
set -u
cache=${UNDERSPAN_KERNELS:-$HOME/.cache/underspan-kernels}
name=$1 deadline=$((SECONDS + $2))
shift 2
tree=$cache/k/$name
image=$(ls "$tree"/boot/vmlinuz-* "$tree"/usr/lib/modules/*/vmlinuz 2>/dev/null | head -1)
modules=$(ls -d "$tree"/lib/modules/* | head -1)
release=$(basename "$modules")
# Not -cpu max: vector instructions wider than these are emulated word by word, and all takes twice as long.
machine=(qemu-system-x86_64 -machine q35 -cpu Nehalem) console=ttyS0 root=/ folder="" more=()
if [[ $name == *-arm64 ]]; then
	# A system of its own, in which this folder is, with what was built for it (prepare.ts) in the place of build/.
	machine=(qemu-system-aarch64 -machine virt -cpu cortex-a72) console=ttyAMA0 root=$tree
	folder="mkdir -p $PWD && mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro folder $PWD &&
mount --bind $PWD/build/arm64 $PWD/build"
	more=(-fsdev "local,id=f2,path=$PWD,security_model=none,readonly=on,multidevs=remap"
		-device "virtio-9p-pci,fsdev=f2,mount_tag=folder")
fi

attempt() {
	out=$(mktemp -d -t underspan-guest.XXXXXX)
	printf 'cd %q\n%s\n' "$PWD" "$*" >"$out/command"
	# The guest has a /tmp and a /run of its own; what it needs of the host's shows there, too.
	: >"$out/keep"
	[ "$root" = / ] &&
		for path in "$PWD" "$modules"; do case $path in /tmp/* | /run/*) echo "$path" ;; esac; done >"$out/keep"
	cat >"$out/guest.sh" <<GUEST
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb
mount -t cgroup2 cgroup /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t tracefs tracefs /sys/kernel/tracing
mount -t debugfs debugfs /sys/kernel/debug
mount -t securityfs securityfs /sys/kernel/security
[ -d /lib/modules/$release ] || { mkdir -p /lib/modules/$release && mount --bind $modules /lib/modules/$release; }
$folder
ip link set lo up
ulimit -n 65536
export UNDERSPAN_TEST_PATIENCE=60
/bin/bash /run/out/command >/run/out/stdout 2>/run/out/stderr
echo \$? >/run/out/status
sync
echo b >/proc/sysrq-trigger
GUEST
	# Expedited: each probe that is attached or detached waits until nobody is left in the code that was there before.
	timeout -k 5 "$((deadline - SECONDS))" nice -n "${NICE:-10}" "${machine[@]}" -accel tcg,thread=multi -smp "${SMP:-1}" -m "${MEM:-2G}" \
		-nodefaults -display none -no-reboot -kernel "$image" -initrd "$tree.cpio.gz" \
		-append "console=$console panic=-1 rdinit=/init mitigations=off nokaslr random.trust_cpu=on quiet rcupdate.rcu_expedited=1" \
		-serial "file:$out/console" -object rng-random,filename=/dev/urandom,id=r0 -device virtio-rng-pci,rng=r0 \
		-fsdev "local,id=f0,path=$root,security_model=none,readonly=on,multidevs=remap" \
		-device virtio-9p-pci,fsdev=f0,mount_tag=hostroot \
		-fsdev "local,id=f1,path=$out,security_model=none" -device virtio-9p-pci,fsdev=f1,mount_tag=out \
		"${more[@]}" </dev/null >"$out/qemu.log" 2>&1 &
	local guest=$!
	tail --quiet --sleep-interval=0.2 --lines=+1 --follow=name --retry --pid="$guest" "$out/stdout" 2>/dev/null &
	local patience=$((SECONDS + ${BOOT:-180}))
	while [ ! -e "$out/stdout" ] && kill -0 "$guest" 2>/dev/null && [ "$SECONDS" -lt "$patience" ]; do sleep 0.5; done
	[ -e "$out/stdout" ] || kill "$guest" 2>/dev/null
	wait
}

# Why the guest may be booted again, '' if not. Only what the emulator does: it sometimes loses the int3 by which the kernel
# patches its own code, its only processor may be away for longer than a kernel allows, or it does not come up at all.
# Whatever the command said stands; so does a crash with a probe or a program of ours on its stack.
emulator_fault() {
	[ -e "$out/status" ] && return
	if [ ! -e "$out/stdout" ]; then
		echo "the guest did not come up"
	elif grep -qE 'bpf_prog_|bpf_trampoline|kprobe|uprobe|trampoline_handler' "$out/console"; then
		return
	elif grep -qE 'int3: |Oops: int3' "$out/console"; then
		echo "the emulator lost an int3"
	elif grep -qE 'soft lockup|self-detected stall' "$out/console"; then
		echo "the emulated processor stood still"
	fi
}

for turn in 1 2 3; do
	attempt "$@"
	fault=$(emulator_fault)
	[ -n "$fault" ] && [ "$turn" -lt 3 ] && [ "$SECONDS" -lt "$deadline" ] || break
	echo "retry $turn of 2: $name: $fault" >&2
	sed 's/^/  /' "$out/console" | tail -n 40 >&2
	rm -rf "$out"
done
cat "$out/stderr" >&2 2>/dev/null
status=$(cat "$out/status" 2>/dev/null || echo 125)
[ "$status" = 125 ] && tail -n 60 "$out/console" "$out/qemu.log" >&2
rm -rf "$out"
exit "$status"
