#!/bin/sh
# OpenTelemetry's exporters for JavaScript, for the tests that send with them: there already and as
# the lock file says, installed by npm, or asked for.
set -eu
cd "$(dirname "$0")/javascript"
installed=node_modules/.package-lock.json
if [ -f "$installed" ] && [ ! package-lock.json -nt "$installed" ]; then exit 0; fi
if ! command -v npm >/dev/null 2>&1; then
    line="apt-get update && apt-get install -y --no-install-recommends nodejs npm"
    if [ "$(id -u)" != 0 ]; then
        echo "The tests with JavaScript clients need Node 18.19 or newer with npm." >&2
        echo "On Debian run this once:  sudo sh -c '$line'" >&2
        exit 1
    fi
    echo "installing Node for the tests with JavaScript clients"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    apt-get install -y -q --no-install-recommends nodejs npm
fi
echo "installing the JavaScript clients of the tests"
npm ci --no-progress --loglevel=error
touch "$installed"
