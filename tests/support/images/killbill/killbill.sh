#!/usr/bin/env bash
# What the official image's start does with its environment. Kill Bill 0.22 does not read KB_* itself (0.24 does), so
# they are rendered into killbill.properties here.
set -eo pipefail

for part in URL USER PASSWORD MAX_ACTIVE; do
  case $part in MAX_ACTIVE) property=maxActive ;; *) property=${part,,} ;; esac
  dao=KILLBILL_DAO_$part
  osgi=KILLBILL_OSGI_DAO_$part
  if [ -n "${!dao:-}" ]; then export "KB_org_killbill_dao_$property=${!dao}"; fi
  if [ -n "${!osgi:-${!dao:-}}" ]; then export "KB_org_killbill_billing_osgi_dao_$property=${!osgi:-${!dao}}"; fi
done
: "${KB_org_killbill_security_shiroResourcePath:=file:/var/lib/killbill/shiro.ini}"
: "${KB_org_killbill_server_updateCheck_skip:=true}"
export KB_org_killbill_security_shiroResourcePath KB_org_killbill_server_updateCheck_skip

umask 077
env -0 | while IFS= read -r -d '' entry; do
  name=${entry%%=*}
  case $name in KB_org_*) name=${name#KB_}; printf '%s=%s\n' "${name//_/.}" "${entry#*=}" ;; esac
done > /var/lib/killbill/killbill.properties
cat > /var/lib/killbill/shiro.ini <<INI
[users]
admin = ${KB_ADMIN_PASSWORD:-password}, root
[roles]
root = *:*
INI
exec /opt/tomcat/bin/catalina.sh run
