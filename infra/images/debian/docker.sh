#!/usr/bin/env bash
# See that the containers' tests can run: a Docker daemon that answers, Compose, debootstrap, iptables; as root on Debian what is missing is
# installed and started. Status 1, with the reason, where that cannot be.
# infra/images/debian/docker.sh [FILE]: the number of the daemon's process goes there if it is started now, for whoever is to stop it.
set -euo pipefail

pid_file="${1:-/dev/null}"
answers() { docker version >/dev/null 2>&1; }
cannot() {
    echo "$1" >&2
    exit 1
}

[[ "$(id -u)" == 0 ]] || cannot "only root can make a base of Debian's packages, and break containers"
missing=()
command -v debootstrap >/dev/null || missing+=(debootstrap)
command -v iptables >/dev/null || missing+=(iptables)
command -v docker-compose >/dev/null || docker compose version >/dev/null 2>&1 || missing+=(docker-compose)
answers || command -v dockerd >/dev/null || missing+=(docker.io)
if ((${#missing[@]})); then
    command -v apt-get >/dev/null || cannot "there is no ${missing[*]}, and no apt-get to install it with"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends "${missing[@]}" >/dev/null
fi
answers && exit 0
log="$(mktemp --suffix=.dockerd.log)"
nohup dockerd >"$log" 2>&1 &
echo "$!" >"$pid_file"
for _ in {1..60}; do
    answers && exit 0
    sleep 1
done
tail -n 20 "$log" >&2
cannot "dockerd does not come up"
