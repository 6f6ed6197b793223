#!/bin/sh
# A Debian package, with what it needs and this machine does not have, unpacked into a folder: no root, nothing installed.
#   debian.sh PACKAGE FOLDER
# The folder is complete as soon as it exists. Its programs need FOLDER/usr/lib/<machine>-linux-gnu as LD_LIBRARY_PATH.
set -eu
package=$1
folder=$2
[ -d "$folder" ] && exit 0
for tool in apt-get dpkg flock; do
    command -v "$tool" >/dev/null || { echo "debian.sh: $package is fetched with $tool, which this machine does not have" >&2; exit 1; }
done
mkdir -p "$(dirname "$folder")"
exec 9>"$folder.lock"
flock 9
[ -d "$folder" ] && exit 0

work=$folder.part
rm -rf "$work"
mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial" "$work/debs" "$work/content"
# Lists and cache of our own: the machine's may be old, and belong to root.
apt() {
    apt-get -qq -o Dir::State::Lists="$work/apt/lists" -o Dir::Cache="$work/apt/cache" -o Dir::State::status="$status" \
        -o APT::Sandbox::User="$(id -un)" -o Debug::NoLocking=true -o APT::Install-Recommends=false "$@"
}
status=/var/lib/dpkg/status
apt update
names=$(apt install --simulate "$package" | sed -n 's/^Inst \([^ ]*\).*/\1/p')
# Installed already: nothing to do for apt, but the folder is to have it all the same.
[ -n "$names" ] || names=$package
echo "fetching $package from Debian, once: $(echo "$names" | wc -w) packages" >&2
# shellcheck disable=SC2086 # one word a package
(cd "$work/debs" && apt download $names)
for deb in "$work"/debs/*.deb; do
    dpkg --extract "$deb" "$work/content"
done
mv "$work/content" "$folder"
rm -rf "$work"
