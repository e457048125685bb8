#!/bin/bash
# fetch.sh [SERIES...] : downloads Debian's newest generic kernels of the series 5.10, 6.1, 6.12 and of unstable (any other
# word), by default all four, and makes each one bootable by boot.sh. Prints a name a line. `fetch.sh arm64`: that of Debian 13
# for arm64, with all of that system that servers and clients need, as a root folder of its own. Nothing is added to the machine's
# own apt configuration; what is there is not fetched again. Needs: busybox-static cpio kmod xz-utils zstd.
set -euo pipefail
cache=${UNDERSPAN_KERNELS:-$HOME/.cache/underspan-kernels}
apt=$cache/apt
[ "${1:-}" = arm64 ] && apt=$cache/apt-arm64
mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$cache/k"
declare -A suites=([5.10]=bullseye [6.1]=bookworm [6.12]=trixie [arm64]=trixie)
[ $# -gt 0 ] || set -- 5.10 6.1 6.12 unstable
wanted=()
for series in "$@"; do
	[ -n "${suites[$series]:-}" ] || series=unstable
	wanted+=("$series")
done

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
for series in "${wanted[@]}"; do
	if [ "$series" = unstable ]; then
		echo "deb [$by] $mirror sid main"
	else
		echo "deb [$by] $mirror ${suites[$series]} main"
		echo "deb [$by] $security ${suites[$series]}-security main"
	fi
done >"$apt/sources.list"
own=(-o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State::Lists="$apt/lists"
	-o Dir::Cache::archives="$apt/archives" -o Dir::Cache::pkgcache="$apt/packages.bin"
	-o Dir::Cache::srcpkgcache="$apt/sources.bin" -o APT::Sandbox::User=root -o APT::Get::List-Cleanup=0
	-o Acquire::Retries=5)
if [ "${1:-}" = arm64 ]; then
	: >"$apt/status" # nothing is installed there yet
	own+=(-o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o Dir::State::status="$apt/status"
		-o APT::Install-Recommends=false)
fi
apt-get "${own[@]}" -qq update >&2

# The guest's, where it has a system of its own.
busybox_of() {
	[ -e "$1/usr/bin/busybox" ] && echo "$1/usr/bin/busybox" || echo /bin/busybox
}

# initramfs NAME: busybox, and the modules that mount the host's root.
initramfs() {
	local tree=$cache/k/$1 modules release work module line file base
	[ -e "$tree/lib" ] || ln -s usr/lib "$tree/lib"
	modules=$(ls -d "$tree"/lib/modules/* | head -1)
	release=$(basename "$modules")
	[ -s "$modules/modules.dep" ] || depmod -b "$tree" "$release" 2>/dev/null
	work=$(mktemp -d)
	mkdir -p "$work"/{bin,proc,sys,dev,lower,rw,new,modules}
	cp "$(busybox_of "$tree")" "$work/bin/"
	ln -s busybox "$work/bin/sh"
	: >"$work/modules/order"
	for module in virtio_pci netfs 9pnet 9pnet_virtio 9p overlay $([[ $1 == *-arm64 ]] && echo virtio_rng); do
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

# newest PATTERN : the last package whose name it matches, of those with a generic kernel in them.
newest() {
	apt-cache "${own[@]}" pkgnames linux- | grep -E "$1.*-amd64\$" | grep -vE 'cloud|rt-|unsigned|dbg' | sort -V |
		tail -1 || true
}

# unpack NAME PACKAGE...
unpack() {
	local name=$1 package
	shift
	if [ ! -e "$cache/k/$name/.whole" ]; then
		rm -rf "$cache/k/$name" "$cache/k/$name.cpio.gz"
		mkdir -p "$cache/k/$name"
		(cd "$apt/archives" && apt-get "${own[@]}" -qq download "$@" >&2)
		for package in "$@"; do
			dpkg -x "$apt/archives/${package}"_*.deb "$cache/k/$name"
			rm -f "$apt/archives/${package}"_*.deb
		done
		touch "$cache/k/$name/.whole"
	fi
	make_bootable "$name"
}

# make_bootable NAME : prints it, too.
make_bootable() {
	if [ ! -s "$cache/k/$1.cpio.gz" ] || ! cmp -s "$(dirname "$0")/init.sh" "$cache/k/$1.init"; then
		initramfs "$1" >&2
		cp "$(dirname "$0")/init.sh" "$cache/k/$1.init"
	fi
	echo "$1"
}

# A system of its own: unpacked, not installed, so that nothing of it has to run here.
unpack_arm64() {
	local image name tree
	image=$(apt-cache "${own[@]}" depends linux-image-arm64 | awk '/Depends: linux-image-/ { print $2; exit }')
	name=${image#linux-image-} tree=$cache/k/$name
	if [ ! -e "$tree/.whole" ]; then
		rm -rf "$tree" "$tree.cpio.gz" "$apt"/archives/*.deb
		apt-get "${own[@]}" -qq -y --download-only install base-files bash dash coreutils mount iproute2 busybox-static nodejs \
			libbpf-dev liburing-dev libc6-dev nginx python3 curl openssl util-linux "$image" >&2
		mkdir -p "$tree"
		dpkg -x "$apt"/archives/base-files_*.deb "$tree"
		for package in "$apt"/archives/*.deb; do dpkg -x "$package" "$tree"; done
		rm -f "$apt"/archives/*.deb
		printf '%s\n' root:x:0:0::/root:/bin/sh www-data:x:33:33::/:/bin/sh nobody:x:65534:65534::/:/bin/sh >"$tree/etc/passwd"
		printf '%s\n' root:x:0: www-data:x:33: nogroup:x:65534: >"$tree/etc/group"
		touch "$tree/.whole"
	fi
	make_bootable "$name"
}

if [ "${wanted[0]}" = arm64 ]; then
	unpack_arm64
	exit
fi

for series in "${wanted[@]}"; do
	if [ "$series" = unstable ]; then
		package=$(newest '^linux-binary-[0-9.]+')
		name=${package#linux-binary-}
		[ -z "$package" ] || unpack "$name" "$package" "linux-modules-$name"
	else
		package=$(newest "^linux-image-${series//./\\.}\\.")
		[ -z "$package" ] || unpack "${package#linux-image-}" "$package"
	fi
	if [ -z "$package" ]; then
		echo "fetch.sh: $mirror has no kernel of the series $series" >&2
		exit 1
	fi
done
