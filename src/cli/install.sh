#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the site of this bundle on this host, as a namespace of Skupper, and starts it.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
. "$here/bundle.conf" # site=…, default_namespace=…
skupper=${SKUPPER:-skupper}

usage() {
    cat <<END
Installs the Skupper site "$site" on this host and starts it.

usage: $(basename "$0") [-p platform] [-n namespace] [-x] [-d directory] [-h]
  -p platform   linux, which is the default
  -n namespace  where to install it (default: $default_namespace)
  -x            remove this site again
  -d directory  only copy the links by which other sites reach this one to <directory>/$site/
  -h            this text
END
}

fail() {
    echo "$*"
    exit 1
}

platform=linux
namespace=$default_namespace
remove=
links_to=
while getopts p:n:d:xh option; do
    case $option in
    p) platform=$OPTARG ;;
    n) namespace=$OPTARG ;;
    d) links_to=$OPTARG ;;
    x) remove=yes ;;
    h)
        usage
        exit 0
        ;;
    *)
        usage
        exit 1
        ;;
    esac
done
shift $((OPTIND - 1))
[ $# = 0 ] || fail "\"$1\" is not understood; -h tells what is"

case $platform in
linux) ;;
podman | docker) fail "sites as containers ($platform) are not built yet in this version: use -p linux" ;;
*) fail "platform \"$platform\" not supported: use linux" ;;
esac
case $namespace in
'' | -* | *- | *[!a-z0-9-]*) fail "the namespace \"$namespace\" is not allowed: use a-z, 0-9 and hyphens" ;;
esac

if [ -n "$links_to" ]; then
    set -- "$here"/namespace/runtime/links/*.yaml
    [ -f "$1" ] || fail "the site \"$site\" accepts no links: there is no RouterAccess in the bundle"
    mkdir -p "$links_to/$site"
    cp "$@" "$links_to/$site/"
    echo "Static links for site \"$site\" have been copied to $links_to/$site"
    exit 0
fi

for tool in "$skupper" cp mkdir id; do
    command -v "$tool" >/dev/null || fail "$tool is not installed, or not in PATH"
done
if [ -n "${SKUPPER_OUTPUT_PATH:-}" ]; then
    home=$SKUPPER_OUTPUT_PATH
elif [ "$(id -u)" = 0 ]; then
    home=/var/lib/skupper
else
    home=${XDG_DATA_HOME:-$HOME/.local/share}/skupper
fi
root=$home/namespaces/$namespace

if [ -n "$remove" ]; then
    if [ ! -e "$root/input/resources/Site-$site.yaml" ]; then
        echo "The site \"$site\" is not in the namespace \"$namespace\": there is nothing to remove"
        exit 0
    fi
    exec "$skupper" -p linux -n "$namespace" system stop
fi

for there in runtime input/resources; do
    [ ! -e "$root/$there" ] || fail "the namespace \"$namespace\" exists ($root/$there): choose another with -n, or remove it with \"$skupper -p linux -n $namespace system stop\""
done
mkdir -p "$root/input"
cp -Rp "$here/namespace/input/resources" "$root/input/"
cp -Rp "$here/namespace/runtime" "$root/"
# What the user put there before is used instead of what is in the bundle.
for kind in certs issuers; do
    mkdir -p "$root/input/$kind"
    for one in "$here/namespace/input/$kind"/*; do
        if [ -d "$one" ] && [ ! -e "$root/input/$kind/$(basename "$one")" ]; then
            cp -Rp "$one" "$root/input/$kind/"
        fi
    done
done
exec "$skupper" -p linux -n "$namespace" system start
