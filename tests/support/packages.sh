#!/bin/sh
# Installs the Debian packages that the tests need and this machine lacks; quick when nothing is missing.
set -eu
needed="debootstrap docker-compose docker.io iptables maven pgbouncer pgloader postgresql strace"

# Node 20 or newer may have come from elsewhere, with an npm of its own.
command -v npm > /dev/null || needed="$needed nodejs npm"
command -v g++ > /dev/null || needed="$needed g++ make"

missing=""
for package in $needed; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" -ne 0 ]; then
  echo "the tests need these Debian packages: apt-get install$missing" >&2
  exit 1
fi
echo "installing$missing"
# Debian would start a server for each of these; the tests start their own.
policy=/usr/sbin/policy-rc.d
[ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' > "$policy"; chmod +x "$policy"; made=$policy; }
trap 'rm -f ${made:-}' EXIT
apt-get update -qq
# shellcheck disable=SC2086 - a list of words
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing > /dev/null
