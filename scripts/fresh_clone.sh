#!/bin/sh
# fresh_clone.sh [debian]: proves that what is committed works for a stranger, in a clone that is removed afterwards.
#
# Without an argument: a clone in a new folder on this machine. With "debian" (as root, with debootstrap installed): a clone
# in a new Debian 12 that has nothing but git, make, gcc and what they cannot do without, where a user without root is told
# the missing packages by name, root installs them by the project's own script, and the user then needs root no more.
set -eu
cd "$(dirname "$0")/.."
where=$(mktemp -d "${TMPDIR:-/tmp}/fresh_clone.XXXXXX")

# shellcheck disable=SC2016 # expanded where it runs
in_the_clone='set -eux
	make run
	make check
	make install DESTDIR="$PWD/build/somewhere"
	make uninstall DESTDIR="$PWD/build/somewhere"
	test -z "$(git status --porcelain)"'

on_this_machine() {
	trap 'rm -rf "$where"' EXIT
	git clone --quiet . "$where/pmemstream"
	(cd "$where/pmemstream" && sh -c "$in_the_clone" </dev/null)
}

leave_debian() {
	umount "$where/proc" "$where/dev/shm" "$where/dev/pts" "$where/dev" 2>/dev/null || true
	# Removes nothing of this machine's, should a mount have stayed.
	rm -rf --one-file-system "$where"
}

on_debian() {
	trap leave_debian EXIT
	chmod 755 "$where" # the root folder of that Debian
	debootstrap --variant=minbase --include=git,make,gcc,ca-certificates bookworm "$where" http://deb.debian.org/debian \
		>"$where.log" || {
		tail -n 20 "$where.log"
		exit 1
	}
	rm -f "$where.log"
	mount -t proc proc "$where/proc"
	mount --bind /dev "$where/dev"
	mount --bind /dev/pts "$where/dev/pts"
	mount -t tmpfs tmpfs "$where/dev/shm"
	cp /etc/resolv.conf "$where/etc/"
	inside() { chroot "$where" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root "$@" </dev/null; }
	as_stranger() { inside su stranger -s /bin/sh -c "cd ~/pmemstream && $1"; }

	inside useradd --create-home stranger
	git clone --quiet . "$where/home/stranger/pmemstream"
	inside chown -R stranger: /home/stranger
	for target in all install check; do
		echo "== without root and packages: make $target names what is missing and stops"
		if as_stranger "make $target" >"$where/tmp/said" 2>&1; then
			echo "make $target worked without a package?"
			exit 1
		fi
		cat "$where/tmp/said"
		grep -q '^Missing Debian packages:.* meson ' "$where/tmp/said"
	done
	echo "== root installs the packages"
	inside make -C /home/stranger/pmemstream deps
	echo "== without root"
	as_stranger "$in_the_clone"
	echo "== root installs into /usr/local, and compiles nothing"
	inside make -C /home/stranger/pmemstream install
	test -z "$(find "$where/home/stranger/pmemstream" -user root)"
	inside make -C /home/stranger/pmemstream uninstall
}

trap 'exit 130' INT TERM # so that what is removed at the exit is removed then too
case ${1:-} in
'') on_this_machine ;;
debian) on_debian ;;
*)
	echo "usage: fresh_clone.sh [debian]" >&2
	exit 2
	;;
esac
echo "fresh_clone.sh: all of it worked"
