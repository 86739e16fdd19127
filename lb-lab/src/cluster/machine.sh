# Process 1 of a node: gives it a /proc, cgroups, and empty folders where a kubelet and a container runtime keep things,
# then does nothing but reap. All of it goes with the last process. Arguments: the node's name.
set -eu
mount --make-rprivate /
mount -t proc proc /proc
echo "$1" > /proc/sys/kernel/hostname

# The folder of sysfs that is there for it. Where there are hierarchies of version 1, each has a folder of its own.
if grep -q -v '^0:' /proc/self/cgroup; then
    mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
    while IFS=: read -r number controllers path; do
        case $controllers in
            '') continue ;;
            name=*) folder=${controllers#name=} options=none,$controllers ;;
            *) folder=$controllers options=$controllers ;;
        esac
        mkdir "/sys/fs/cgroup/$folder"
        mount -t cgroup -o "$options" cgroup "/sys/fs/cgroup/$folder"
    done < /proc/self/cgroup
else
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi

mount -t tmpfs -o mode=755 tmpfs /var/lib
mount -t tmpfs -o mode=755 tmpfs /var/log
mkdir /var/lib/kubelet /var/lib/containerd /var/lib/cni /run/cni
# Volumes that are mounted later must be seen by containers (mount propagation).
mount --make-rshared /

: > /run/booted
# Whoever ignores this signal is not left with children that nobody waits for (sigaction(2)).
exec env --ignore-signal=CHLD sleep infinity
