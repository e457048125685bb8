#!/bin/sh
# The initramfs' first process: the host's root, read-only by 9p, under a tmpfs, becomes the guest's root.
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
for module in $($b cat /modules/order); do $b insmod /modules/$module.ko || echo "insmod $module failed"; done
o=trans=virtio,version=9p2000.L,msize=512000
$b mount -t 9p -o $o,cache=loose,ro hostroot /lower || exec $b sh
$b mount -t tmpfs tmpfs /rw
$b mkdir /rw/upper /rw/work
$b mount -t overlay -o lowerdir=/lower,upperdir=/rw/upper,workdir=/rw/work overlay /new
for d in proc sys dev; do $b mount -o move /$d /new/$d; done
# From here on the host's busybox: the one in the initramfs goes out of sight.
[ -x /lower/bin/busybox ] && b=/lower/bin/busybox
$b mount -t tmpfs tmpfs /new/tmp
$b mount -t tmpfs tmpfs /new/run
$b mkdir -p /new/dev/shm /new/dev/pts /new/run/out /new/sys/fs/cgroup
$b mount -t tmpfs shm /new/dev/shm
$b mount -t devpts devpts /new/dev/pts
$b mount -t 9p -o $o,rw out /new/run/out
while read -r path; do
	$b mkdir -p "/new$path"
	$b mount -o bind "/lower$path" "/new$path"
done </new/run/out/keep
exec $b chroot /new /bin/sh /run/out/guest.sh
