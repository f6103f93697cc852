#!/bin/sh
# deps.sh: the one place that names the Debian packages this project needs.
#
# deps.sh install PURPOSE   installs what PURPOSE is missing (asks for root only when something is missing)
# deps.sh need PURPOSE      names what is missing and fails, installs nothing
# deps.sh list PURPOSE      prints the names
#
# PURPOSE is build, run, check or bench; run and check include build, bench includes run.
set -eu

build="gcc libc6-dev pkg-config meson ninja-build python3 libpmem2-dev libisal-dev zlib1g-dev pandoc
	python3-dev python3-cffi"
run=""
check="g++ clang cmake clang-format-14 libclang-rt-14-dev libcmocka-dev libpmemlog-dev pmdk-tools valgrind strace binutils
	shellcheck python3-setuptools python3-venv python3-pip python3-wheel python3-pytest python3-hypothesis mypy"
bench="libpmemlog-dev libsqlite3-dev liblmdb-dev librocksdb-dev gnuplot-nox valgrind"

usage() {
	echo "usage: deps.sh install|need|list build|run|check|bench" >&2
	exit 2
}

[ $# = 2 ] || usage
verb=$1
purpose=$2
case $purpose in
build) wanted=$build ;;
run) wanted="$build $run" ;;
check) wanted="$build $run $check" ;;
bench) wanted="$build $run $bench" ;;
*) usage ;;
esac

case $verb in
need | install) ;;
list)
	# shellcheck disable=SC2086 # a list of words
	printf '%s\n' $wanted
	exit 0
	;;
*) usage ;;
esac

if ! command -v dpkg-query >/dev/null; then
	echo "deps.sh: not a Debian system, so nothing is checked; 'scripts/deps.sh list $purpose' names what is needed" >&2
	exit 0
fi

# shellcheck disable=SC2086 # a list of words
installed=$(dpkg-query -W -f='${Package} ${db:Status-Status}\n' $wanted 2>/dev/null | sed -n 's/ installed$//p')
missing=
for package in $wanted; do
	printf '%s\n' "$installed" | grep -qxF -- "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

by_hand() {
	echo "Missing Debian packages:$missing" >&2
	echo "$1" >&2
	exit 1
}

[ "$verb" = install ] || by_hand "'make deps' installs them (as root, or with sudo); then repeat."

as_root=
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null || by_hand "Installing them needs root: run 'make deps' as root, then repeat."
	as_root=sudo
fi
echo "Installing:$missing"
# A foreign source that is out of order must not keep us from Debian's own.
$as_root apt-get update -qq || echo "deps.sh: 'apt-get update' failed; trying with the lists that are here" >&2
# shellcheck disable=SC2086 # a list of words
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	-o DPkg::Lock::Timeout=300 $missing >/dev/null
