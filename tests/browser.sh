#!/bin/sh
# Debian's Chromium for the browser tests: there already, installed as root, or asked for.
set -eu
if command -v chromium >/dev/null 2>&1; then exit 0; fi
line="apt-get update && apt-get install -y chromium"
if [ "$(id -u)" != 0 ]; then
    echo "The browser tests need Chromium. Run this once:  sudo sh -c '$line'" >&2
    exit 1
fi
echo "installing Chromium for the browser tests"
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -y -q --no-install-recommends chromium
