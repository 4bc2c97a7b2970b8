#!/bin/sh
# nginx and wrk for make bench-proxy: there already, installed as root, or asked for.
# Only their programs are used; nginx's own service is not needed.
set -eu
PATH="$PATH:/usr/sbin:/sbin"
if command -v nginx >/dev/null 2>&1 && command -v wrk >/dev/null 2>&1; then exit 0; fi
line="apt-get update && apt-get install -y --no-install-recommends nginx wrk"
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "make bench-proxy needs nginx and wrk. On Debian run this once:  sudo sh -c '$line'" >&2
    exit 1
fi
had_nginx=$(command -v nginx || true)
echo "installing nginx and wrk for the benchmark"
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -y -q --no-install-recommends nginx wrk
# A package that was not there before must not leave a server listening.
if [ -z "$had_nginx" ] && [ -d /run/systemd/system ]; then systemctl disable --now nginx; fi
