# SPDX-License-Identifier: BSL-1.0
# What tests/run, tests/fuzz, examples/run and benchmarks/run share. Sourced, not run.

say() { printf '\n==> %s\n' "$*"; }

# prepare_packages examples|benchmarks|tests|fuzz: installs what is missing on Debian and its kin; elsewhere says what
# is needed and goes on if a compiler and CMake are there.
prepare_packages() {
    local packages="g++ cmake ninja-build git ca-certificates"
    local libraries="libsqlite3-dev libssl-dev nlohmann-json3-dev libboost1.81-dev|libboost-dev
                     libzstd-dev liblz4-dev libbrotli-dev zlib1g-dev"
    case "$1" in
        fuzz) packages="$packages ccache clang-16 libclang-rt-16-dev" ;;
        examples) packages="$packages $libraries" ;;
        benchmarks) packages="$packages $libraries python3 ccache libbenchmark-dev libxxhash-dev libgit2-dev" ;;
        tests)
            packages="$packages $libraries python3 pkg-config ccache catch2 libbenchmark-dev libxxhash-dev xdelta3
                      clang-14|clang libclang-rt-14-dev clang-16 libc++-16-dev libc++abi-16-dev
                      clang-format-14 clang-tidy-14" ;;
    esac

    if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
        echo "This is not a Debian system: nothing is installed. Needed or of use:" $packages
    else
        local choice name found missing=""
        for choice in $packages; do
            found=""
            for name in ${choice//|/ }; do
                if [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null || true)" = installed ]; then found=yes; fi
            done
            [ -n "$found" ] || missing="$missing $choice"
        done
        if [ -n "$missing" ]; then install_packages "$missing"; fi
    fi

    local tool
    for tool in cmake ninja c++; do
        if ! command -v "$tool" >/dev/null; then
            echo "error: no $tool on this machine; install it and try again" >&2
            exit 1
        fi
    done
}

# Each word is a package, or alternatives joined by "|": the first that the system knows is taken.
install_packages() {
    local -a as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
            as_root=(sudo -n)
        else
            echo "Missing, and neither root nor sudo without a password is at hand. Please run:"
            echo "  sudo apt-get install" $(printf '%s\n' $1 | sed 's/|.*//')
            return 0
        fi
    fi
    say "install:$1"
    local -a get=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=3 -qq)
    "${get[@]}" update </dev/null || echo "warning: the package lists could not be refreshed" >&2
    local choice name
    local -a chosen=()
    for choice in $1; do
        for name in ${choice//|/ }; do
            if apt-cache show "$name" >/dev/null 2>&1; then
                chosen+=("$name")
                break
            fi
        done
    done
    if [ "${#chosen[@]}" -gt 0 ]; then
        # One that fails must not keep the others away; what is missing then is skipped, visibly.
        "${get[@]}" install -y --no-install-recommends "${chosen[@]}" </dev/null >/dev/null || {
            for name in "${chosen[@]}"; do
                "${get[@]}" install -y --no-install-recommends "$name" </dev/null >/dev/null ||
                    echo "warning: $name could not be installed" >&2
            done
        }
    fi
}

prepare_ccache() {
    export CCACHE_BASEDIR="$PWD" CCACHE_NOHASHDIR=1
    # Precompiled headers are known again by what they hold.
    export CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
}

# The CMake argument that puts ccache before the compiler, if it is there.
launcher() {
    if command -v ccache >/dev/null; then echo -DCMAKE_CXX_COMPILER_LAUNCHER=ccache; fi
}
