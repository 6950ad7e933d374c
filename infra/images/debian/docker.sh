#!/usr/bin/env bash
# See that a Docker daemon answers: as root on Debian, install and start one where none does. Status 1, with the reason, where that cannot be.
set -euo pipefail

answers() { docker version >/dev/null 2>&1; }

answers && command -v debootstrap >/dev/null && exit 0
if [[ "$(id -u)" != 0 ]] || ! command -v apt-get >/dev/null; then
    echo "no Docker daemon answers, or debootstrap is missing; only root on Debian could install them" >&2
    exit 1
fi
if ! command -v dockerd >/dev/null || ! command -v debootstrap >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends \
        debootstrap docker-compose docker.io iptables >/dev/null
fi
answers && exit 0
log="$(mktemp --suffix=.dockerd.log)"
nohup dockerd >"$log" 2>&1 &
for _ in {1..60}; do
    answers && exit 0
    sleep 1
done
echo "dockerd does not come up:" >&2
tail -n 20 "$log" >&2
exit 1
