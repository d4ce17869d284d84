# Read by catalina.sh. Java 17 and newer closes packages that Kill Bill's OSGi framework needs (the official image
# has Java 11).
opens=
for package in java.lang java.net java.security java.util sun.net.www.protocol.file sun.net.www.protocol.jar \
  sun.net.www.protocol.http sun.net.www.protocol.https sun.net.www.protocol.ftp sun.net.www.protocol.jrt; do
  opens="$opens --add-opens java.base/$package=ALL-UNNAMED"
done
# Tests start it often and load it little. The second compiler is left to what runs hundreds of thousands of times: the
# 200,000 rounds over the tenant's secret at every request. Processor time for a start and for an account: 13 s, 0.2 s;
# with the first compiler alone 12 s, 0.6 s; with the second at its usual thresholds 17 s, 0.2 s.
late="-XX:Tier4InvocationThreshold=200000 -XX:Tier4MinInvocationThreshold=100000 -XX:Tier4CompileThreshold=200000 \
  -XX:Tier4BackEdgeThreshold=1000000"
export CATALINA_OPTS="$late -XX:+UseSerialGC -Xms$TOMCAT_JAVA_XMS -Xmx$TOMCAT_JAVA_XMX $opens \
  -Dorg.killbill.server.properties=file:///var/lib/killbill/killbill.properties"
