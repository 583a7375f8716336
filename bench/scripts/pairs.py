#!/usr/bin/env python3
"""Two peers side by side: interleaved pairs of processes, each pair a ratio, the median ratio with its 95 % interval.

    pairs.py --bin DIR --file FILE --depth 32 --pairs 30 SUBJECT RIVAL...
    pairs.py --bin DIR --file FILE --faces "local read std-io" "std read std-io"

Subject and rivals are peers of hot-read, or with --faces cases of faces.

A machine that other work shares drifts; the two runs of a pair lie next to each other in time (and take turns at going first), so their ratio
drifts less than either. Both ratios are rival over subject in cost: above 1, the subject is cheaper (or faster). The interval is the sign
test's: order statistics of the ratios themselves, with no assumption about their distribution.
"""

import argparse
import json
import math
import os
import subprocess
import sys


def one_run(args, peer):
    if args.faces:
        command = [os.path.join(args.bin, "faces"), *peer.split(), "--file", args.file, "--requests", str(args.reads)]
    else:
        command = [os.path.join(args.bin, "hot-read"), peer, "--file", args.file, "--depth", str(args.depth), "--reads", str(args.reads),
                   "--seed", str(args.seed)]
    pin = (lambda: os.sched_setaffinity(0, {args.cpu})) if args.cpu is not None else None
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, preexec_fn=pin)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    return json.loads(done.stdout)


def interval_ranks(n, confidence=0.95):
    """The widest-in rank k such that [k, n-1-k] of n sorted values holds the median with the confidence asked for, and what it reaches."""
    tail, k = 0.0, 0
    while True:
        grown = tail + math.comb(n, k) / 2**n
        if 2 * grown > 1 - confidence:
            break
        tail, k = grown, k + 1
    if k == 0:
        raise SystemExit(f"{n} pairs are too few for an interval")
    return k - 1, 1 - 2 * tail


def median(values):
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def summary(ratios):
    ordered = sorted(ratios)
    k, reached = interval_ranks(len(ordered))
    return {"median": round(median(ordered), 4), "low": round(ordered[k], 4), "high": round(ordered[-1 - k], 4),
            "confidence": round(reached, 4)}


def compare(args, rival):
    pairs = []
    for index in range(args.pairs):
        order = [args.subject, rival] if index % 2 == 0 else [rival, args.subject]
        runs = {peer: one_run(args, peer) for peer in order}
        if runs[args.subject]["checksum"] != runs[rival]["checksum"]:
            raise SystemExit(f"{args.subject} and {rival} read different data")
        pairs.append((runs[args.subject], runs[rival]))
    per_read = lambda runs, unit, scale: round(median([run[unit] * scale / args.reads for run in runs]), 3)
    subject, other = [s for s, _ in pairs], [r for _, r in pairs]
    print(json.dumps({
        "subject": args.subject, "rival": rival, "depth": 1 if args.faces else args.depth, "reads": args.reads, "pairs": args.pairs,
        "cpu_ratio": summary([r["cpu_us"] / s["cpu_us"] for s, r in pairs]),
        "speed_ratio": summary([r["wall_ns"] / s["wall_ns"] for s, r in pairs]),
        "subject_cpu_us_per_read": per_read(subject, "cpu_us", 1), "rival_cpu_us_per_read": per_read(other, "cpu_us", 1),
        "subject_wall_us_per_read": per_read(subject, "wall_ns", 1e-3), "rival_wall_us_per_read": per_read(other, "wall_ns", 1e-3),
    }), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subject")
    parser.add_argument("rival", nargs="+")
    parser.add_argument("--bin", required=True, help="folder of the release build")
    parser.add_argument("--file", required=True, help="pattern file")
    parser.add_argument("--faces", action="store_true", help="one transfer at a time through the faces")
    parser.add_argument("--depth", type=int, default=32)
    parser.add_argument("--reads", type=int, default=500_000)
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cpu", type=int, help="pin every run to this processor")
    args = parser.parse_args()
    for rival in args.rival:
        compare(args, rival)


if __name__ == "__main__":
    sys.exit(main())
