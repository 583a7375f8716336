#!/usr/bin/env python3
"""Exact counts of an echo server per round trip: user-space instructions, atomics, allocations and system calls, for each peer.

    echo.py --bin DIR [--connections 1,64] [--size 64,16384] PEER...

Each count is taken at two lengths of the same run, and the difference divided by the extra round trips: set-up, accepting and closing cancel.
The load is a process of its own and is not counted.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile

import exact

SHORT, LONG = 2048, 6144


def strace(command):
    """System calls of the server alone: its children are not followed."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out")
        exact.run(["strace", "-c", "-o", out, *command])
        with open(out, encoding="utf-8") as summary:
            return sum(int(line.split()[3]) for line in summary if re.match(r"\s*\d+\.\d+", line) and not line.rstrip().endswith("total"))


def measure(args, peer, connections, size):
    command = lambda trips: [os.path.join(args.bin, "echo"), peer, "--connections", str(connections), "--size", str(size), "--trips", str(trips)]
    (short, _), (long, _) = exact.callgrind(command(SHORT)), exact.callgrind(command(LONG))
    extra = LONG - SHORT
    counts = {name: (long[name] - short[name]) / extra for name in ("instructions", "atomics", "allocations")}
    counts["syscalls"] = (strace(command(LONG)) - strace(command(SHORT))) / extra
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", nargs="+")
    parser.add_argument("--bin", required=True, help="folder of the release build")
    parser.add_argument("--connections", default="1,64")
    parser.add_argument("--size", default="64,16384")
    args = parser.parse_args()
    print("| peer | connections | bytes | instructions | atomics | allocations | system calls |\n|---|---|---|---|---|---|---|")
    for size in map(int, args.size.split(",")):
        for connections in map(int, args.connections.split(",")):
            for peer in args.peer:
                try:
                    c = measure(args, peer, connections, size)
                except (SystemExit, subprocess.TimeoutExpired) as error:
                    print(f"| {peer} | {connections} | {size} | {str(error).splitlines()[-1][:60]} |||", flush=True)
                    continue
                print(f"| {peer} | {connections} | {size} | {c['instructions']:.0f} | {c['atomics']:.1f} | {c['allocations']:.2f} | {c['syscalls']:.2f} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
