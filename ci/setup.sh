#!/usr/bin/env bash
# Installs what the lanes need beyond the Rust toolchain, where it is missing.
set -euo pipefail

PACKAGES=(
    rustc-web cargo-web rust-web-src rust-web-clippy # std from source: TSAN, no_std, other systems
    gcc libc6-dev                                    # the host's linker
    gcc-mingw-w64-x86-64-posix                       # dlltool and linker of Windows (GNU)
    git                                              # git apply
    valgrind strace binutils python3                 # exact counts
)

missing=()
for package in "${PACKAGES[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then exit 0; fi

echo "installing: ${missing[*]}"
if [ "$(id -u)" -ne 0 ]; then
    echo "not root: install them first"
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
if ! { apt-get update && apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    tail -n 30 "$log"
    exit 1
fi
rm -f "$log"
