#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs a build into a temporary folder, builds both consumers against it, runs them and compares
# the version they print with the one pkg-config tells.   usage: run.sh BUILD_DIR
set -Eeuo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
work=
step="reading the arguments"
trap 'if [[ -n $work ]]; then rm -rf -- "$work"; fi' EXIT
trap 'fail "failed (line $LINENO)"' ERR

fail() {
    trap - ERR
    if ((BASHPID != $$)); then exit 1; fi
    printf '%s: %s\n' "$step" "$1" >&2
    if [[ -n $work && -s $work/log ]]; then tail -n 40 -- "$work/log" >&2; fi
    exit 1
}

# logged STEP COMMAND...: runs a command whose output matters only when it fails
logged() {
    step=$1
    shift
    "$@" >"$work/log" 2>&1
}

# option NAME: the value of an option of the build
option() {
    meson introspect --buildoptions "$build" | python3 -c '
import json, sys
values = {option["name"]: option["value"] for option in json.load(sys.stdin)}
print(values[sys.argv[1]])' "$1"
}

# compiler: the C++ compiler of the build
compiler() {
    meson introspect --targets "$build" | python3 -c '
import json, sys
for target in json.load(sys.stdin):
    for source in target["target_sources"]:
        if source.get("language") == "cpp":
            print(*source["compiler"])
            sys.exit(0)
sys.exit("no C++ target")'
}

# check_paths FILE...: an installed file must not point into the source or build tree
check_paths() {
    local file
    for file in "$@"; do
        if grep -n -F -e "$build" -e "$source_root" -- "$file" >&2; then
            fail "${file#"$work"/image} names a path of the build"
        fi
    done
}

# check_run KIND PROGRAM: the program prints the version, and uses the library that it should
check_run() {
    local kind=$1 program=$2 printed linked
    step="running the consumer ($kind)"
    printed=$(LD_LIBRARY_PATH=$libdir${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} "$program")
    if [[ $printed != "$version" ]]; then
        fail "it prints version '$printed', pkg-config says '$version'"
    fi
    linked=$(readelf -d "$program" | sed -n 's/.*NEEDED.*\[\(libsluice[^]]*\)\]/\1/p')
    if [[ $library == shared && -z $linked ]]; then
        fail "it is not linked to libsluice.so"
    elif [[ $library != shared && -n $linked ]]; then
        fail "it is linked to libsluice.so, not to libsluice.a"
    fi
}

if (($# != 1)) || [[ ! -f $1/build.ninja ]]; then
    echo "usage: run.sh BUILD_DIR (configured and compiled)" >&2
    exit 2
fi
build=$(cd -- "$1" && pwd)
source_root=$(cd -- "$here/../.." && pwd)
work=$(mktemp -d)
work=$(cd -- "$work" && pwd -P)

step="asking the build for its options"
prefix=$(option prefix)
library=$(option default_library)
sanitizer=$(option b_sanitize)
CXX=$(compiler)
export CXX
if [[ $library == both ]]; then library=shared; fi

# Consumers outside, in folders of their own.
mkdir "$work/meson" "$work/cmake" "$work/image"
cp -L -- "$here"/consumer_meson/* "$work/meson/"
cp -L -- "$here"/consumer_cmake/* "$work/cmake/"

logged "installing" env DESTDIR="$work/image" meson install -C "$build" --no-rebuild
root=$work/image$prefix
step="looking at what was installed"
pc=$(find "$root" -name sluice.pc)
[[ -n $pc ]] || fail "there is no sluice.pc"
config=$(find "$root" -iname 'sluice-config.cmake' -o -iname 'sluiceConfig.cmake')
[[ -n $config ]] || fail "there is no CMake package config"
[[ -f $root/include/sluice/sluice.hpp ]] || fail "there is no include/sluice/sluice.hpp"
libdir=$(dirname -- "$(dirname -- "$pc")")
if leak=$(grep -rn -E '#[[:space:]]*include[[:space:]]*[<"](liburing|linux/io_uring|runtime/|net/|zcrx/)' "$root/include"); then
    fail "an installed header needs what is not installed: $leak"
fi
mapfile -t cmake_files < <(find "$root" -name '*.cmake')
check_paths "$pc" "${cmake_files[@]}"

# The image is not at its final place: say so to pkg-config.
sed -i "s|^prefix=.*|prefix=$root|" "$pc"
export PKG_CONFIG_PATH=$libdir/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
step="asking pkg-config"
version=$(pkg-config --modversion sluice)

logged "configuring the Meson consumer" meson setup "$work/meson/build" "$work/meson" \
    -Db_sanitize="$sanitizer" -Db_lundef=false
logged "compiling the Meson consumer" meson compile -C "$work/meson/build"
check_run Meson "$work/meson/build/consumer"

flags=
if [[ $sanitizer != none ]]; then flags=-fsanitize=$sanitizer; fi
logged "configuring the CMake consumer" cmake -G Ninja -S "$work/cmake" -B "$work/cmake/build" \
    -DCMAKE_PREFIX_PATH="$root" -DCMAKE_CXX_FLAGS="$flags" -DCMAKE_BUILD_TYPE=Debug
step="comparing the version that CMake finds"
found=$(sed -n 's/^-- sluice version: //p' "$work/log")
if [[ $found != "$version" ]]; then
    fail "find_package gives '$found', pkg-config says '$version'"
fi
logged "compiling the CMake consumer" cmake --build "$work/cmake/build"
check_run CMake "$work/cmake/build/consumer"

printf 'both consumers print %s (%s library)\n' "$version" "$library"
printf '2 passed, 0 failed\n'
