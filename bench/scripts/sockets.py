#!/usr/bin/env python3
"""Echo servers, and wake-ups from another thread, side by side: rounds in which every peer runs once, interleaved.

    sockets.py echo --bin DIR [--rounds 30] [--connections 1,64,1024,8192] [--size 64,16384] [--cpu SERVER,LOAD] SUBJECT RIVAL...
    sockets.py wake --bin DIR [--rounds 30] [--cpu RUNTIME,WAKER] SUBJECT RIVAL...

Server and load, or runtime and waker, each have a processor of their own. Every byte of the echoes is compared by the load. A round runs every
peer once, in an order that turns from round to round; each round gives one ratio of each rival. Ratios are in cost, rival over subject (for
round trips a second: subject over rival): above 1, the subject is better. Their interval is the sign test's (see pairs.py), 95 % or a little
more. With fewer than 6 rounds there is none, and only medians are told. With --json FILE each run is kept as it is, one a line.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time

import pairs

# Past it a run is stuck.
LIMIT_S = 300

# Of an interval of 95 %.
FEWEST_ROUNDS = 6

# Name, unit, how it is had from a run, and whether more is better.
ECHO = [
    ("round trips/s", "", lambda run: run["trips"] * 1e9 / run["trips_wall_ns"], True),
    ("server CPU a trip", "µs", lambda run: run["server_cpu_ns"] / run["trips"] / 1e3, False),
]
TIMES = [
    ("p50", "µs", lambda run: run["p50_ns"] / 1e3, False),
    ("p99", "µs", lambda run: run["p99_ns"] / 1e3, False),
    ("p99.9", "µs", lambda run: run["p999_ns"] / 1e3, False),
]


def one_run(args, command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\nended with {done.returncode}\n{done.stdout}{done.stderr}")
    run = json.loads(done.stdout)
    if args.json:
        with open(args.json, "a", encoding="utf-8") as kept:
            kept.write(json.dumps(run) + "\n")
    return run


def rounds(args, command_of):
    """The runs of each peer, round by round."""
    peers = [args.subject, *args.rival]
    runs = {peer: [] for peer in peers}
    for index in range(args.rounds):
        first = index % len(peers)
        order = peers[first:] + peers[:first]
        # Turned round every other time, so that nobody always follows the same one.
        for peer in order if index // len(peers) % 2 == 0 else reversed(order):
            runs[peer].append(one_run(args, command_of(peer)))
    return runs


def ratio(values):
    if len(values) < FEWEST_ROUNDS:
        return f"{pairs.median(values):.3f}"
    told = pairs.summary(values)
    return f"{told['median']:.3f} ({told['low']:.3f} to {told['high']:.3f})"


def table(args, title, runs, measures):
    print(f"\n{title}; {args.rounds} rounds\n")
    names = [f"{name}{', ' + unit if unit else ''}" for name, unit, _, _ in measures]
    print("| peer | " + " | ".join(f"{name} | ratio" for name in names) + " |")
    print("|---" * (1 + 2 * len(names)) + "|")
    for peer, mine in runs.items():
        cells = []
        for _, _, of, more_is_better in measures:
            values, subject = [of(run) for run in mine], [of(run) for run in runs[args.subject]]
            cells.append(f"{pairs.median(values):,.0f}" if more_is_better else f"{pairs.median(values):.2f}")
            pairwise = [(s / v if more_is_better else v / s) for s, v in zip(subject, values) if s > 0 and v > 0]
            cells.append("1" if peer == args.subject else ratio(pairwise))
        print(f"| {peer} | " + " | ".join(cells) + " |", flush=True)


def trips_of(args, connections, size):
    """Enough that a run takes about a second or two, and each connection has some."""
    trips = args.trips * (1 if connections > 1 else 0.4) * (1 if size <= 4096 else 0.4)
    return max(int(trips), 8 * connections)


def echo(args):
    # Two descriptors a connection, in two processes.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard > 0 else soft, hard))
    for size in map(int, args.size.split(",")):
        for connections in map(int, args.connections.split(",")):
            trips = trips_of(args, connections, size)
            runs = rounds(args, lambda peer: [
                os.path.join(args.bin, "echo"), peer, "--connections", str(connections), "--size", str(size), "--trips", str(trips),
                "--cpu", args.cpu])
            table(args, f"{connections} connections, {size} bytes, {trips} round trips", runs, ECHO + TIMES)


def wake(args):
    runs = rounds(args, lambda peer: [os.path.join(args.bin, "wake"), peer, "--wakes", str(args.wakes), "--cpu", args.cpu])
    table(args, f"{args.wakes} wake-ups from another thread", runs, TIMES)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["echo", "wake"])
    parser.add_argument("subject")
    parser.add_argument("rival", nargs="*")
    parser.add_argument("--bin", required=True, help="folder of the release build, with --features peers")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--connections", default="1,64,1024,8192")
    parser.add_argument("--size", default="64,16384")
    parser.add_argument("--trips", type=int, default=100_000, help="of 64 bytes on more than one connection; fewer otherwise")
    parser.add_argument("--wakes", type=int, default=10_000)
    parser.add_argument("--cpu", default="0,1", help="processors of server and load, or of runtime and waker")
    parser.add_argument("--json", help="file that each run is appended to")
    args = parser.parse_args()
    began = time.monotonic()
    {"echo": echo, "wake": wake}[args.what](args)
    print(f"\n{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
