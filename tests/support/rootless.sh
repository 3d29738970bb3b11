#!/usr/bin/env bash
# rootless.sh DIR COMMAND... - runs a command as an ordinary user whose Podman works rootless, with HOME
# and storage in DIR. Exits with 77 and says why where that cannot be.
#
# As root: the user is made for this run and removed after it, with all its processes; it has /run,
# /dev/shm and processes of its own, and may open /dev/net/tun, whatever the machine lets others do.
# As somebody else: that user, with a runtime directory of its own.
set -euo pipefail
export PATH=$PATH:/usr/sbin:/sbin
dir=$1
shift
cannot() { echo "rootless.sh: $*" >&2; exit 77; }
have() { command -v "$1" >/dev/null; }
have podman && have newuidmap && { have slirp4netns || have pasta; } || cannot "needs podman, newuidmap and slirp4netns or pasta; run examples/setup test"
clean=(env -i HOME="$dir/home" PATH="$PATH" NO_COLOR=1)

if [ "$(id -u)" != 0 ]; then
    { : <>/dev/net/tun; } 2>/dev/null || cannot "/dev/net/tun cannot be opened: sudo modprobe tun; sudo chmod 666 /dev/net/tun"
    grep -q "^$(id -un):" /etc/subuid || cannot "$(id -un) has no subordinate ids: sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $(id -un)"
    mkdir -p "$dir/home"
    runtime=$(mktemp -d "${XDG_RUNTIME_DIR:-/run/user/$(id -u)}/selkie-test-XXXXXX")
    clean+=(XDG_RUNTIME_DIR="$runtime")
    end() {
        kill -- "-$child"
        "${clean[@]}" podman pod rm --all --force --time 0
        pkill -f "podman system service --time=0 unix://$dir/"
        # Ends the process that holds the user's namespace.
        "${clean[@]}" podman system migrate
        podman unshare rm -rf "$dir/home" "$runtime"
    }
    trap 'set +e; end >/dev/null 2>&1' EXIT
    trap 'exit 143' TERM INT
    set -m
    "${clean[@]}" "$@" &
    child=$!
    wait $child
    exit
fi

unshare --mount --pid --fork true 2>/dev/null || cannot "root may not make namespaces here"
[ -e /dev/net/tun ] || cannot "/dev/net/tun is missing: modprobe tun"
user=selkie-test-$$
useradd --no-create-home --home-dir "$dir/home" --shell /bin/sh "$user"
# The namespace's processes are dead by then.
trap 'userdel "$user" 2>/dev/null || true; rm -rf "$dir/home"' EXIT
grep -q "^$user:" /etc/subuid || usermod --add-subuids 2000000000-2000065535 --add-subgids 2000000000-2000065535 "$user"
mkdir -p "$dir/home"
chown "$user": "$dir/home"
chmod 755 "$dir" "$dir/home"
unshare --mount --pid --fork --kill-child --mount-proc --propagation private bash -euc '
    user=$1
    shift
    mount --make-rshared /
    mount -t tmpfs -o mode=755 tmpfs /run
    mount -t tmpfs -o mode=1777 tmpfs /dev/shm
    mknod -m 666 /run/tun c 10 200
    mount --bind /run/tun /dev/net/tun
    runtime=/run/user/$(id -u "$user")
    mkdir -p "$runtime"
    chown "$user": "$runtime"
    chmod 700 "$runtime"
    # Not in the place of this shell, which is the first process and buries the others.
    setpriv --reuid "$user" --regid "$user" --init-groups -- "$@"
    exit $?' _ "$user" \
    "${clean[@]}" XDG_RUNTIME_DIR="/run/user/$(id -u "$user")" "$@" &
child=$!
end() {
    # The first process of the namespace; all others die with it.
    pkill -KILL -P "$child" || true
    wait "$child" || true
    userdel "$user" || true
    rm -rf "$dir/home"
}
trap 'end 2>/dev/null' EXIT
trap 'exit 143' TERM INT
wait $child
