#!/usr/bin/env bash
# hosts.sh - several Podman hosts on one machine, for tests of what happens between hosts. Needs root.
#
#   hosts.sh up N IMAGE.tar   hosts 1..N, each with the image loaded; removes what an earlier run left
#   hosts.sh stop K           power off: every process of host K dies at once, its disk stays
#   hosts.sh start K          power on
#   hosts.sh cut K | heal K   take host K off the network, put it back
#   hosts.sh podman K ARG...  the podman command on host K
#   hosts.sh down             remove everything
#
# Host K has its own network, mount, process, host name and IPC namespaces, /run, /dev/shm, /etc/containers
# and storage (in memory). It is 10.91.0.(10+K) on a bridge to this machine, its pods are in 10.92.K.0/24
# and reach those of other hosts. Podman listens on tcp://10.91.0.(10+K):8080 and unix://$BASE/hK/podman.sock.
#
# There is one set of hosts on a machine: `up` and `down` refuse while another test run holds the lock.
# Whatever is interrupted, the next `up` or `down` removes all that is left.
set -euo pipefail
export PATH=$PATH:/usr/sbin:/sbin
BASE=/tmp/selkie-hosts LOCK=/tmp/selkie-hosts.lock
BRIDGE=selkie-hosts LAN=10.91.0 PODS=10.92

alone() { # holds the lock until the script ends; tests hold it themselves for as long as they need the hosts
    [ -z "${SELKIE_HOSTS_LOCKED:-}" ] || return 0
    exec 9>"$LOCK"
    flock --nonblock 9 || { echo "hosts.sh: a test run is using the hosts; try again when it has ended ($LOCK)" >&2; exit 1; }
}

remains() { # the first processes of hosts, and who keeps them, whatever became of their files
    grep -lsz '^SELKIE_TEST_HOST=' /proc/[0-9]*/environ | cut -d/ -f3
}

no_remains() {
    [ -z "$(remains)" ]
}

init() { # K: the host's first process, if it is up
    local pid
    pid=$(cat "$BASE/h$1/init.pid" 2>/dev/null) || return 1
    # The number may be another's by now.
    grep -qzx "SELKIE_TEST_HOST=$1" "/proc/$pid/environ" 2>/dev/null && echo "$pid"
}

on() { # K COMMAND...: in the host's namespaces
    local k=$1 pid
    shift
    pid=$(init "$k") || { echo "hosts.sh: host $k is not up" >&2; return 1; }
    nsenter -t "$pid" -m -u -n -p -i -- env -i HOME="$BASE/h$k" PATH="$PATH" "$@"
}

wait_for() { # WHAT COMMAND...
    local what=$1 end=$((SECONDS + 30))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || { echo "hosts.sh: waited 30 s for $what" >&2; return 1; }
        sleep 0.02
    done
}

settings() { # K: containers.conf that works with this machine's cgroups and limits
    local files processes
    files=$(ulimit -Hn) processes=$(ulimit -Hu)
    [ "$files" != unlimited ] && [ "$files" -lt 16384 ] || files=16384
    [ "$processes" != unlimited ] && [ "$processes" -lt 16384 ] || processes=16384
    cat <<CONF
[containers]
log_driver = "k8s-file"
default_ulimits = ["nofile=$files:$files", "nproc=$processes:$processes"]
[engine]
events_logger = "file"
cgroup_manager = "cgroupfs"
infra_image = ""
exit_command_delay = 5
CONF
    # crun refuses hybrid hierarchies.
    [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ] || echo 'runtime = "runc"'
    printf '[network]\nnetwork_backend = "netavark"\ndefault_subnet = "%s.%s.0/24"\n' $PODS "$1"
}

start() {
    local k=$1 host=$BASE/h$1 keeper j
    if init "$k" >/dev/null; then return; fi
    mkdir -p "$host/storage" "$host/etc"
    settings "$k" >"$host/etc/containers.conf"
    echo '{"default":[{"type":"insecureAcceptAnything"}]}' >"$host/etc/policy.json"
    printf '127.0.0.1 localhost\n%s.%s h%s\n' $LAN $((10 + k)) "$k" >"$host/hosts"
    : >"$host/resolv.conf"
    rm -f "$host/podman.sock" "$host/ready"
    env -i SELKIE_TEST_HOST="$k" PATH="$PATH" setsid unshare --net --mount --uts --ipc --pid --fork --kill-child \
        --mount-proc --propagation private bash -ec '
            host=$1 name=$2
            mount -t tmpfs -o mode=755 tmpfs /run
            mkdir -p /run/lock /run/netns /var/lib/containers /etc/containers
            mount -t tmpfs -o mode=1777 tmpfs /dev/shm
            mount --bind "$host/storage" /var/lib/containers
            mount --bind "$host/etc" /etc/containers
            mount --bind "$host/hosts" /etc/hosts
            mount --bind "$host/resolv.conf" /etc/resolv.conf
            hostname "$name"
            ip link set lo up
            echo 1 >/proc/sys/net/ipv4/ip_forward
            touch "$host/ready"
            exec catatonit -P' _ "$host" "h$k" </dev/null >"$host/init.log" 2>&1 9>&- &
    keeper=$!
    wait_for "host $k (see $host/init.log)" test -e "$host/ready"
    # setsid runs unshare in its own place, whose only child is the host's first process.
    wait_for "the first process of host $k" pgrep -P "$keeper"
    pgrep -P "$keeper" >"$host/init.pid"
    # Fixed addresses: neighbours would remember the old one for a while after a restart.
    ip link add "selkie-h$k" type veth peer name eth0 address "02:00:00:91:00:$(printf %02x "$k")" netns "$(init "$k")"
    ip link set "selkie-h$k" master $BRIDGE up
    on "$k" ip address add "$LAN.$((10 + k))/24" dev eth0
    on "$k" ip link set eth0 up
    on "$k" ip route add default via $LAN.1
    for ((j = 1; j <= $(cat "$BASE/count"); j++)); do
        [ "$j" = "$k" ] || on "$k" ip route add "$PODS.$j.0/24" via "$LAN.$((10 + j))"
    done
    # Between pods, and to this machine, a pod's own address shows.
    on "$k" iptables -t nat -I POSTROUTING -s $PODS.0.0/16 -d $PODS.0.0/16 -j ACCEPT
    on "$k" iptables -t nat -I POSTROUTING -s $PODS.0.0/16 -d $LAN.0/24 -j ACCEPT
    ip route replace "$PODS.$k.0/24" via "$LAN.$((10 + k))"
    serve "$k"
}

serve() { # K: the two Podman services
    local k=$1 host=$BASE/h$1 url
    for url in "unix://$host/podman.sock" "tcp://$LAN.$((10 + k)):8080"; do
        on "$k" setsid podman system service --time=0 "$url" </dev/null >>"$host/podman.log" 2>&1 9>&- &
        # One after the other: the first one prepares the storage.
        case $url in
        unix:*) wait_for "Podman on host $k (see $host/podman.log)" curl -sf --unix-socket "$host/podman.sock" http://d/_ping ;;
        tcp:*) wait_for "Podman on host $k (see $host/podman.log)" curl -sf --noproxy '*' "http://$LAN.$((10 + k)):8080/_ping" ;;
        esac
    done
}

stop() {
    local k=$1 pid id group
    # The kernel kills all its processes with the first one.
    if pid=$(init "$k"); then
        kill -9 "$pid"
        wait_for "the end of host $k" test ! -e "/proc/$pid"
    fi
    rm -f "$BASE/h$k/init.pid"
    # The network ends with its last process, a moment later.
    ip link delete "selkie-h$k" 2>/dev/null || true
    wait_for "the end of host $k's network" test ! -e "/sys/class/net/selkie-h$k"
    # What its containers leave of the machine's control groups.
    for id in $(ls "$BASE/h$k/storage/storage/overlay-containers" 2>/dev/null); do
        [ ${#id} = 64 ] || continue
        for group in /sys/fs/cgroup/{,*/}libpod_parent/*/libpod-"$id"; do
            [ ! -d "$group" ] || find "$(dirname "$group")" -depth -type d -exec rmdir {} + 2>/dev/null || true
        done
    done
}

up() {
    local count=$1 image=$2 k used
    alone
    remove
    used=$(ip -4 route show root $LAN.0/24 && ip -4 route show root $PODS.0.0/16)
    [ -z "$used" ] || { echo "hosts.sh: this machine has other uses for its addresses: $used" >&2; exit 1; }
    # All or nothing, also when it is interrupted.
    trap remove EXIT
    trap 'exit 130' HUP INT TERM
    mkdir -p $BASE
    # In memory: what tests write need not survive them, and syncing is slow.
    mount -t tmpfs -o mode=755 selkie-hosts $BASE
    echo "$count" >$BASE/count
    ip link add $BRIDGE type bridge
    ip address add $LAN.1/24 dev $BRIDGE
    ip link set $BRIDGE up
    for ((k = 1; k <= count; k++)); do start "$k"; done
    for ((k = 1; k <= count; k++)); do on "$k" podman load -q -i /dev/stdin <"$image" >/dev/null; done
    trap - EXIT
}

down() {
    alone
    remove
}

remove() { # each step finds what is there by itself: an earlier run may have been interrupted anywhere
    local host pid
    for host in "$BASE"/h*; do
        [ ! -d "$host" ] || stop "${host##*/h}"
    done
    for pid in $(remains); do kill -9 "$pid" 2>/dev/null || true; done
    wait_for "the end of what an earlier run left" no_remains
    ip link delete $BRIDGE 2>/dev/null || true
    while mountpoint -q $BASE; do umount -l $BASE; done
    rm -rf --one-file-system $BASE
}

case ${1:-} in
up | start | stop | down | on) "$@" ;;
cut) ip link set "selkie-h$2" down ;;
heal) ip link set "selkie-h$2" up && ip route replace "$PODS.$2.0/24" via "$LAN.$((10 + $2))" ;;
podman) on "$2" "${@:1:1}" "${@:3}" ;;
*) sed -n '2,17s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
