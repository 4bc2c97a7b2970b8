#!/bin/sh
# Clients that are not written in Python, for the tests that use them: curl, and with Node those of
# tests/javascript. There already and as the lock file says, installed, or asked for.
set -eu
cd "$(dirname "$0")/javascript"
missing=
command -v npm >/dev/null 2>&1 || missing="nodejs npm"
command -v curl >/dev/null 2>&1 || missing="$missing curl"
if [ -n "$missing" ]; then
    line="apt-get update && apt-get install -y --no-install-recommends $missing"
    if [ "$(id -u)" != 0 ]; then
        echo "The tests with other clients need curl, and Node 18.19 or newer with npm." >&2
        echo "On Debian run this once:  sudo sh -c '$line'" >&2
        exit 1
    fi
    echo "installing for the tests with other clients: $missing"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    # shellcheck disable=SC2086
    apt-get install -y -q --no-install-recommends $missing
fi
installed=node_modules/.package-lock.json
if [ -f "$installed" ] && [ ! package-lock.json -nt "$installed" ]; then exit 0; fi
echo "installing the JavaScript clients of the tests"
npm ci --no-progress --loglevel=error
touch "$installed"
