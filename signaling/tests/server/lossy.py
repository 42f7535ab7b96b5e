#!/usr/bin/env python3
"""A line of Ethernet that loses some of the IP packets, each way, by a seed.

It begins in the network of whoever started it, as 10.78.0.1, and ends in another one, as
10.78.0.2. In between it is this program, in a network of its own:

    unshare --net python3 lossy.py SEED

Once it is there, it prints the process whose network the far end is in. Each line of its input says
how many percent are lost from now on, none before the first. It ends with its input.
"""

import os
import random
import select
import socket
import subprocess
import sys

# What linux/if_packet.h names and Python does not.
SOL_PACKET, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 263, 15, 23
ETH_P_ALL = 3
# How the kernel begins what it hands over: a checksum may be left to whoever sends it on.
VNET_HEADER = 10
# What Ethernet takes.
LONGEST = VNET_HEADER + 14 + 1500
# Where a frame tells what is in it, and that this is IP.
TYPE, IP = slice(VNET_HEADER + 12, VNET_HEADER + 14), b"\x08\x00"


def ip(arguments, network=None):
    enter = ["nsenter", f"--net=/proc/{network}/ns/net"] if network else []
    subprocess.run([*enter, "ip", *arguments.split()], check=True)


def end(name, network, address):
    """Leads a cable into another network; what is handed to the near end of it leaves the other."""
    # One packet at a time.
    ip(f"link add {name} type veth peer name line gso_max_segs 1 netns {network}")
    ip(f"addr add {address}/24 dev line", network)
    ip("link set line up", network)
    ip("link set lo up", network)
    ip(f"link set {name} up")
    port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    port.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    port.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    port.bind((name, ETH_P_ALL))
    return port


def main():
    percent, die = 0, random.Random(int(sys.argv[1]))
    pipe = subprocess.PIPE
    # It reads until this program is no more.
    far = ["unshare", "--net", "sh", "-c", "echo; exec cat >/dev/null"]
    far = subprocess.Popen(far, stdin=pipe, stdout=pipe)
    far.stdout.readline()
    near_end = end("near", os.getppid(), "10.78.0.1")
    far_end = end("far", far.pid, "10.78.0.2")
    print(far.pid, flush=True)
    other = {near_end: far_end, far_end: near_end}
    while True:
        ready, _, _ = select.select([sys.stdin, near_end, far_end], [], [])
        if sys.stdin in ready:
            line = sys.stdin.readline()
            if not line:
                return
            percent = int(line)
            ready.remove(sys.stdin)
        for port in ready:
            frame = port.recv(1 << 16)
            assert len(frame) <= LONGEST, "several packets at once"
            if frame[TYPE] != IP or die.random() * 100 >= percent:
                other[port].send(frame)


if __name__ == "__main__":
    main()
