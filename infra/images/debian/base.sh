#!/usr/bin/env bash
# Make an image of Debian's own packages to build all others from, where no registry can be reached: Debian 12 with Python 3.11.
# As root: infra/images/debian/base.sh [NAME]; it takes about a minute. Certificates that this machine trusts are trusted in it too.
set -euo pipefail

name="${1:-localhost/synergysched/debian-base:dev}"
root="$(mktemp --directory)"
trap 'rm --recursive --force --one-file-system "$root"' EXIT

packages=ca-certificates,libpython3.11,python3,python3-venv
debootstrap --variant=minbase --include="$packages" bookworm "$root" >"$root.log" 2>&1 || {
    tail -n 20 "$root.log" "$root/debootstrap/debootstrap.log" >&2
    exit 1
}
rm "$root.log"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
rm --recursive --force "$root"/var/cache/apt/archives/*.deb "$root"/usr/share/doc/* "$root"/usr/share/man/* "$root"/usr/share/locale/*
tar --create --directory "$root" --one-file-system . | docker import --change 'ENV LANG=C.UTF-8' - "$name"
