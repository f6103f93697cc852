#!/bin/sh
# build.sh: configures and compiles one of the build folders; the one place that says how they differ.
#
# build.sh release|clang|asan|tsan|fuzz [SETTING...]
#
# SETTING is given to Meson as it is (-Dprefix=/usr). A folder that was configured with the same settings, or for
# which none are given, is compiled as it stands.
set -eu
cd "$(dirname "$0")/.."

name=${1:?usage: build.sh release|clang|asan|tsan|fuzz [SETTING...]}
shift

# Root compiles nothing in somebody else's tree (sudo make install): the owner does, and the files stay his.
owner=$(stat -c %u .)
if [ "$(id -u)" = 0 ] && [ "$owner" != 0 ]; then
	group=$(stat -c %g .)
	if setpriv --reuid="$owner" --regid="$group" --clear-groups test -w . 2>/dev/null; then
		exec setpriv --reuid="$owner" --regid="$group" --clear-groups \
			env HOME="$PWD/build" sh scripts/build.sh "$name" "$@"
	fi
fi

compiler=gcc
options=
case $name in
release) ;;
clang) compiler=clang options=-Dman=disabled ;;
asan) options="-Dman=disabled -Db_sanitize=address,undefined -Db_lundef=false" ;;
fuzz) compiler=clang options="-Dman=disabled -Dlibfuzzer=true -Db_sanitize=address,undefined -Db_lundef=false -Dc_args=-fsanitize=fuzzer-no-link" ;;
tsan) options="-Dman=disabled -Db_sanitize=thread -Db_lundef=false" ;;
*)
	echo "build.sh: no build folder is called '$name'" >&2
	exit 2
	;;
esac

dir=build/$name
# Raised where a folder that was compiled before a change of the build must be made anew: ninja removes what it once made
# and makes no more, also when that is a symbolic link of Meson's by now.
layout=2
setup() {
	# shellcheck disable=SC2086 # a list of words
	CC=$compiler meson setup $options "$@" "$dir" >"$dir/setup.log" || {
		cat "$dir/setup.log"
		exit 1
	}
	printf '%s\n' "$PWD" "$layout $compiler $options" "$settings" >"$dir/settings"
}

settings=$*
if [ ! -f "$dir/build.ninja" ] || [ "$(sed -n 1,2p "$dir/settings")" != "$(printf '%s\n' "$PWD" "$layout $compiler $options")" ]; then
	# New, cut short, moved with its tree, or made by an older version of this script.
	rm -rf "$dir"
	mkdir -p "$dir"
	setup "$@"
elif [ $# != 0 ] && [ "$(sed -n 3p "$dir/settings")" != "$settings" ]; then
	setup --reconfigure "$@"
fi
exec ninja -C "$dir" -j "$(nproc)"
