# A client, a node whose uplink is a $KIND (bond, a VLAN, or plain), and a pod on it: requests to a VIP are answered, a long
# answer arrives whole, and the agent, configured for mode $MODE, says that it takes packets in mode $SHOWN.
set -eu

# The shell would take busybox's own, which knows no namespaces.
ip() { /sbin/ip "$@"; }

ip netns add client
ip netns add pod
ip link add port0 type veth peer name far0 netns client
case $KIND in
plain)
    uplink=port0 far=far0
    ;;
bond)
    uplink=bond1 far=far0
    ip link add bond1 type bond mode active-backup
    ip link set port0 master bond1
    ;;
vlan)
    uplink=port0.100 far=far0.100
    ip link add link port0 name port0.100 type vlan id 100
    ip netns exec client ip link add link far0 name far0.100 type vlan id 100
    ;;
esac
ip link set port0 up
ip link set $uplink up
ip address add 10.0.0.11/24 dev $uplink
ip netns exec client ip link set far0 up
ip netns exec client ip link set $far up
ip netns exec client ip address add 10.0.0.2/24 dev $far
ip netns exec client ip route add 10.99.0.1 via 10.0.0.11

ip link add pod0 type veth peer name eth0 netns pod
ip link set pod0 up
ip route add 10.1.1.2 dev pod0
ip netns exec pod ip link set eth0 up
ip netns exec pod ip address add 10.1.1.2/24 dev eth0
ip netns exec pod ip route add default dev eth0
echo 1 >/proc/sys/net/ipv4/ip_forward
echo 1 >/proc/sys/net/ipv4/conf/pod0/proxy_arp
mkdir -p /tmp/www
echo from-the-pod >/tmp/www/index.html
dd if=/dev/zero of=/tmp/www/long bs=1024 count=4096 2>/dev/null
ip netns exec pod httpd -p 8080 -h /tmp/www

cat >/tmp/node.yaml <<EOF
node: {name: node1, uplinks: [$uplink], mode: $MODE}
nodes: [{name: node1, addresses: [10.0.0.11]}]
services:
  - name: default/web
    addresses: [10.99.0.1]
    ports: [{name: http, protocol: TCP, port: 80}]
    endpoints: [{address: 10.1.1.2, node: node1, ports: {http: 8080}}]
EOF
/lb-agent run --config /tmp/node.yaml >/tmp/agent.log 2>&1 &

# Twenty attempts, a second apart: everything is slow here.
attempt() {
    for _ in $(seq 20); do
        "$@" && return
        sleep 1
    done
    echo "never: $*"
    cat /tmp/agent.log
    exit 1
}
has_mode() { /lb-agent show uplinks | tee /dev/stderr | grep -q "^$uplink *$SHOWN "; }
# Debian's static wget dies of looking up names; nc takes a number.
gets_page() { printf 'GET / HTTP/1.0\r\n\r\n' | ip netns exec client nc -w 5 10.99.0.1 80 | grep from-the-pod; }
gets_all() {
    got=$(printf 'GET /long HTTP/1.0\r\n\r\n' | ip netns exec client nc -w 60 10.99.0.1 80 | wc -c)
    echo "$got bytes of an answer with 4194304"
    test "$got" -gt 4194304
}
attempt has_mode
attempt gets_page
attempt gets_all
/lb-agent show services
/lb-agent show services | grep -q 'delivered [1-9]'
