#!/bin/sh
# Runs a program with a camera, /dev/video0, on a machine that has none:
#
#     camera.sh DIRECTORY 'GST-LAUNCH LINE' PROGRAM [ARGUMENT…]
#
# The camera is a node of PipeWire, fed by the line, and reaches the program through PipeWire's
# library that stands in for Video4Linux. That one wants a character device of this name to exist,
# but never opens it, so any will do. What is written goes into the directory.
#
# Must run as root of mount and process namespaces of its own, with a D-Bus session. The program
# can open the camera once: PipeWire 0.3 serves one client of such a node, and loses buffers on a busy
# machine.
set -eu
work=$1
line=$2
shift 2

work=$(mktemp -d --tmpdir="$work")
mkdir "$work/dev" "$work/run"
mount --rbind /dev "$work/dev"
mount -t tmpfs tmpfs /dev
for device in "$work"/dev/*; do
    ln -s "$device" /dev/
done
rm -f /dev/video0
touch /dev/video0
mount --bind "$work/dev/null" /dev/video0

# Nothing of the user's own PipeWire, if there is one.
home=$HOME
debug=${G_DEBUG-}
export HOME="$work" XDG_RUNTIME_DIR="$work/run" XDG_CONFIG_HOME="$work" XDG_STATE_HOME="$work"
unset G_DEBUG PIPEWIRE_REMOTE PIPEWIRE_RUNTIME_DIR

# Waits until a command succeeds, for at most about 10 seconds.
until_ok() {
    left=100
    until "$@" >/dev/null 2>&1; do
        left=$((left - 1))
        if [ "$left" = 0 ]; then
            echo "camera.sh: waited in vain: $*" >&2
            cat "$work"/*.log >&2
            exit 1
        fi
        sleep 0.1
    done
}

camera_is_there() {
    pw-cli ls Node | grep -q '"camera-of-tests"'
}

pipewire >"$work/pipewire.log" 2>&1 &
until_ok pw-cli info 0
wireplumber >"$work/wireplumber.log" 2>&1 &
# The line is split into words on purpose.
# shellcheck disable=SC2086
gst-launch-1.0 $line \
    ! pipewiresink mode=provide \
    stream-properties=p,media.class=Video/Source,node.name=camera-of-tests \
    >"$work/camera.log" 2>&1 &
until_ok camera_is_there
HOME=$home G_DEBUG=$debug exec pw-v4l2 "$@"
