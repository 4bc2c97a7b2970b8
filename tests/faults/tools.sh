#!/bin/sh
# What the fault runs need beside Python: root, strace and faketime. Installs the two on Debian.
set -u

fail() {
    echo "make test-faults: $1" >&2
    exit 1
}

[ "$(uname -s)" = Linux ] || fail "needs Linux: its faults are those of the Linux kernel."
[ "$(id -u)" = 0 ] || fail "needs root, to mount a small disk and to fail system calls. Run it as root."

missing=
for tool in strace faketime; do
    command -v "$tool" >/dev/null || missing="$missing $tool"
done
if [ -n "$missing" ]; then
    command -v apt-get >/dev/null || fail "missing:$missing. Install them."
    echo "installing:$missing"
    apt-get update -qq
    # shellcheck disable=SC2086 # a list of words
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing ||
        fail "missing:$missing, and apt-get could not install them. See its output."
fi

strace -qq -o /dev/null -e trace=fdatasync true ||
    fail "strace cannot trace a process here. Allow ptrace (CAP_SYS_PTRACE)."

folder=$(mktemp -d)
if ! mount -t tmpfs -o size=1m tracequill "$folder" 2>/dev/null; then
    rmdir "$folder"
    fail "cannot mount a tmpfs here. Allow mounting (CAP_SYS_ADMIN)."
fi
umount "$folder"
rmdir "$folder"
