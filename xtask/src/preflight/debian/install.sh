# Installs the Debian package $1. As root; run by `cargo xtask`, by way of `sh -c`.
# $DAEMON is the unit that the package would enable, or empty.
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
if [ -n "$DAEMON" ]; then
    if [ ! -e "$policy" ]; then
        made_policy=yes
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    answer=0
    "$policy" "${DAEMON%.service}" start || answer=$?
    if [ "$answer" -ne 101 ]; then
        echo "$policy of this host lets $DAEMON start; install $1 yourself, as you want it" >&2
        exit 1
    fi
fi

install_package() {
    apt-get -q -y -o "DPkg::Lock::Timeout=$lock_wait_seconds" --no-install-recommends install "$1"
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

# The lists are fetched only if the package is not found by those at hand, or has moved on since.
install_package "$1" || { update_lists && install_package "$1"; }

# Nor at the next boot.
if [ -n "$DAEMON" ] && command -v systemctl >/dev/null; then
    systemctl disable --quiet "$DAEMON" 2>/dev/null || true
fi
