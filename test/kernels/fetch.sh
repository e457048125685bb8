#!/bin/bash
# fetch.sh : downloads Debian's newest generic kernels of the series 5.10, 6.1, 6.12 and of unstable, and makes each one
# bootable by boot.sh. Prints a name a line. Nothing is added to the machine's own apt configuration; what is there is not
# fetched again. Needs: busybox-static cpio kmod xz-utils zstd.
set -euo pipefail
cache=${UNDERSPAN_KERNELS:-$HOME/.cache/underspan-kernels}
apt=$cache/apt
mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$cache/k"

# The machine's own mirror, else Debian's.
mirror_like() {
	local files
	files=$(find /etc/apt/sources.list /etc/apt/sources.list.d -name '*.sources' -o -name '*.list' 2>/dev/null || true)
	# shellcheck disable=SC2086
	awk -v like="$1" '/^URIs:/ && $2 ~ like { print $2; exit } /^deb / && $2 ~ like { print $2; exit }' /dev/null $files
}
mirror=$(mirror_like '/debian/?$')
mirror=${mirror:-http://deb.debian.org/debian}
security=$(mirror_like 'debian-security/?$')
security=${security:-http://security.debian.org/debian-security}
by=signed-by=/usr/share/keyrings/debian-archive-keyring.gpg
{
	for suite in bullseye bookworm trixie sid; do echo "deb [$by] $mirror $suite main"; done
	for suite in bullseye bookworm trixie; do echo "deb [$by] $security $suite-security main"; done
} >"$apt/sources.list"
own=(-o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State::Lists="$apt/lists"
	-o Dir::Cache::archives="$apt/archives" -o Dir::Cache::pkgcache="$apt/packages.bin"
	-o Dir::Cache::srcpkgcache="$apt/sources.bin" -o APT::Sandbox::User=root)
apt-get "${own[@]}" -qq update >&2

names=$(apt-cache "${own[@]}" pkgnames linux-image- | grep -E '^linux-image-[0-9.]+[^ ]*-amd64$' |
	grep -vE 'cloud|rt-|unsigned|dbg')
unstable=$(apt-cache "${own[@]}" pkgnames linux-binary- | grep -E '^linux-binary-[0-9.]+.*-amd64$' |
	grep -vE 'cloud|rt-|unsigned|dbg' | sort -V | tail -1 || true)

# initramfs NAME: busybox, and the modules that mount the host's root.
initramfs() {
	local tree=$cache/k/$1 modules release work module line file base
	[ -e "$tree/lib" ] || ln -s usr/lib "$tree/lib"
	modules=$(ls -d "$tree"/lib/modules/* | head -1)
	release=$(basename "$modules")
	[ -s "$modules/modules.dep" ] || depmod -b "$tree" "$release" 2>/dev/null
	work=$(mktemp -d)
	mkdir -p "$work"/{bin,proc,sys,dev,lower,rw,new,modules}
	cp /bin/busybox "$work/bin/"
	ln -s busybox "$work/bin/sh"
	: >"$work/modules/order"
	for module in virtio_pci netfs 9pnet 9pnet_virtio 9p overlay; do
		line=$(grep -E "/$module\.ko(\.xz|\.zst|\.gz)?:" "$modules/modules.dep") || continue
		for file in $(tr ' ' '\n' <<<"${line#*:}" | tac) "${line%%:*}"; do
			base=$(basename "$file")
			base=${base%%.ko*}
			grep -qx "$base" "$work/modules/order" && continue
			case $file in
			*.xz) xz -dc "$modules/$file" ;;
			*.zst) zstd -qdc "$modules/$file" ;;
			*.gz) gzip -dc "$modules/$file" ;;
			*) cat "$modules/$file" ;;
			esac >"$work/modules/$base.ko"
			echo "$base" >>"$work/modules/order"
		done
	done
	cp "$(dirname "$0")/init.sh" "$work/init"
	chmod +x "$work/init"
	(cd "$work" && find . | cpio -o -H newc --quiet | gzip -1) >"$tree.part"
	mv "$tree.part" "$tree.cpio.gz"
	rm -rf "$work"
}

# unpack NAME PACKAGE...
unpack() {
	local name=$1 package
	shift
	if [ ! -s "$cache/k/$name.cpio.gz" ]; then
		rm -rf "$cache/k/$name"
		mkdir -p "$cache/k/$name"
		(cd "$apt/archives" && apt-get "${own[@]}" -qq download "$@" >&2)
		for package in "$@"; do
			dpkg -x "$apt/archives/${package}"_*.deb "$cache/k/$name"
			rm -f "$apt/archives/${package}"_*.deb
		done
		initramfs "$name" >&2
	fi
	echo "$name"
}

for series in '5\.10\.0-' '6\.1\.0-' '6\.12\.'; do
	package=$(grep -E "^linux-image-$series" <<<"$names" | sort -V | tail -1)
	[ -n "$package" ] && unpack "${package#linux-image-}" "$package"
done
if [ -n "$unstable" ]; then unpack "${unstable#linux-binary-}" "$unstable" "linux-modules-${unstable#linux-binary-}"; fi
