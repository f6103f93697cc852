#!/bin/sh
# deps.sh: the one place that names the Debian packages this project needs.
#
# deps.sh install PURPOSE   installs what PURPOSE is missing (asks for root only when something is missing)
# deps.sh need PURPOSE      names what is missing and fails, installs nothing
#
# PURPOSE is build, run, check or bench; run and check include build, bench includes run.
set -eu

build="gcc pkg-config meson ninja-build python3 libpmem2-dev libisal-dev pandoc"
run=""
check="g++ clang clang-format libclang-rt-14-dev libcmocka-dev libpmemlog-dev pmdk-tools valgrind strace binutils"
bench="libpmemlog-dev gnuplot-nox libsqlite3-dev liblmdb-dev librocksdb-dev"

verb=${1:-}
purpose=${2:-}
case $purpose in
build) wanted=$build ;;
run) wanted="$build $run" ;;
check) wanted="$build $run $check" ;;
bench) wanted="$build $run $bench" ;;
*) echo "usage: deps.sh install|need build|run|check|bench" >&2; exit 2 ;;
esac

missing=
for package in $wanted; do
	state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
	[ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

case $verb in
need)
	echo "Missing Debian packages:$missing" >&2
	echo "Run 'make deps' (as root or with sudo) or install them by name, then repeat." >&2
	exit 1 ;;
install)
	as_root=
	if [ "$(id -u)" != 0 ]; then
		command -v sudo >/dev/null || {
			echo "Missing Debian packages:$missing" >&2
			echo "Installing them needs root: run 'make deps' as root, then repeat." >&2
			exit 1
		}
		as_root=sudo
	fi
	echo "Installing:$missing"
	# shellcheck disable=SC2086
	$as_root apt-get update -qq &&
	$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null ;;
*) echo "usage: deps.sh install|need build|run|check|bench" >&2; exit 2 ;;
esac
