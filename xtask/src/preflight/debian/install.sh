# Installs the Debian packages "$@". As root; run by `cargo xtask`, by way of `sh -c`.
# $DAEMONS names the services that they would start and enable.
set -eu
export LC_ALL=C DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1

lock_wait_seconds=300
log=$(mktemp)
policy=/usr/sbin/policy-rc.d
made_policy=
finish() {
    rm -f "$log"
    [ -z "$made_policy" ] || rm -f "$policy"
}
trap finish EXIT
trap 'exit 130' HUP INT TERM

# No daemon starts: maintainer scripts ask policy-rc.d, and 101 is "forbidden" (invoke-rc.d(8)).
if [ -n "$DAEMONS" ] && [ ! -e "$policy" ]; then
    made_policy=yes
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
for daemon in $DAEMONS; do
    answer=0
    "$policy" "$daemon" start || answer=$?
    if [ "$answer" -ne 101 ]; then
        echo "$policy of this host lets $daemon start: install $* yourself, as you want it" >&2
        exit 1
    fi
done

install_packages() {
    apt-get -qq -o Dpkg::Use-Pty=0 -o "DPkg::Lock::Timeout=$lock_wait_seconds" --no-install-recommends install "$@"
}

# The option above covers dpkg's lock, not the one on the lists.
update_lists() {
    waited=0
    until apt-get -q update >"$log" 2>&1; do
        if ! grep -q 'Could not get lock' "$log" || [ "$waited" -ge "$lock_wait_seconds" ]; then
            cat "$log" >&2
            return 1
        fi
        sleep 5
        waited=$((waited + 5))
    done
}

# The lists are fetched only if those at hand do not know a package, or name a version that is gone.
install_packages "$@" || { update_lists && install_packages "$@"; }

# Nor at the next boot.
if command -v systemctl >/dev/null; then
    for daemon in $DAEMONS; do
        systemctl disable --quiet "$daemon.service" 2>/dev/null || true
    done
fi
