#!/bin/sh
# The peers of make bench-proxy, each in a folder of its own below .peers, which git ignores: there
# already and as their lock files say, or installed. PYTHON is the interpreter to make venvs with.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
peers="$root/.peers"
python=${PYTHON:-python3}
mkdir -p "$peers"

litellm="$peers/litellm"
if [ ! -f "$litellm/.installed" ] || [ "$here/litellm.txt" -nt "$litellm/.installed" ]; then
    echo "installing LiteLLM into .peers/litellm (one to three minutes)"
    rm -rf "$litellm"
    "$python" -m venv "$litellm"
    "$litellm/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
        --require-hashes -r "$here/litellm.txt"
    touch "$litellm/.installed"
fi

portkey="$peers/portkey"
if [ ! -f "$portkey/.installed" ] || [ "$here/portkey/package-lock.json" -nt "$portkey/.installed" ]; then
    if ! command -v npm >/dev/null 2>&1; then
        line="apt-get update && apt-get install -y --no-install-recommends nodejs npm"
        if [ "$(id -u)" != 0 ]; then
            echo "Portkey needs Node with npm. On Debian run this once:  sudo sh -c '$line'" >&2
            exit 1
        fi
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -q
        apt-get install -y -q --no-install-recommends nodejs npm
    fi
    echo "installing Portkey into .peers/portkey"
    rm -rf "$portkey"
    mkdir -p "$portkey"
    cp "$here/portkey/package.json" "$here/portkey/package-lock.json" "$here/portkey/.npmrc" "$portkey/"
    (cd "$portkey" && npm ci --no-progress --no-audit --no-fund --ignore-scripts --loglevel=error)
    touch "$portkey/.installed"
fi
