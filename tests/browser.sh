#!/bin/sh
# Debian's Chromium for the browser tests: there already, installed as root, or asked for.
# libatomic1 is for the program that drives it, which Playwright brings along.
set -eu
has_libatomic() { ldconfig -p 2>/dev/null | grep -q 'libatomic\.so\.1'; }
PATH="$PATH:/usr/sbin:/sbin"
if command -v chromium >/dev/null 2>&1 && has_libatomic; then exit 0; fi
line="apt-get update && apt-get install -y chromium libatomic1"
if [ "$(id -u)" != 0 ]; then
    echo "The browser tests need Chromium. Run this once:  sudo sh -c '$line'" >&2
    exit 1
fi
echo "installing Chromium for the browser tests"
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -y -q --no-install-recommends chromium libatomic1
