# Read by catalina.sh. Java 17 and newer closes packages that Kill Bill's OSGi framework needs (the official image
# has Java 11).
opens=
for package in java.lang java.net java.security java.util sun.net.www.protocol.file sun.net.www.protocol.jar \
  sun.net.www.protocol.http sun.net.www.protocol.https sun.net.www.protocol.ftp sun.net.www.protocol.jrt; do
  opens="$opens --add-opens java.base/$package=ALL-UNNAMED"
done
# Tests start it often and load it little: the first compiler alone takes 20 s of processor time for a start, both 34 s.
export CATALINA_OPTS="-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xms$TOMCAT_JAVA_XMS -Xmx$TOMCAT_JAVA_XMX $opens \
  -Dorg.killbill.server.properties=file:///var/lib/killbill/killbill.properties"
