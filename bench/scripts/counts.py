#!/usr/bin/env python3
"""Exact counts per request, as tables, and the gate that compares them with bounds.

    counts.py reads --bin DIR --file FILE [--peers a,b] [--depths 1,32]    hot random reads
    counts.py core  --bin DIR [--sides mfio,mfio01]                        the framework alone, on an in-memory object
    counts.py faces --bin DIR --file FILE [--only "local read"]            each face of a native file, beside std
    counts.py where --bin DIR PROGRAM WORDS...                             which functions one request's instructions go to
    counts.py gate  --bin DIR --file FILE --bounds bounds.txt              red when a count is above its bound
    counts.py freeze --bin DIR --file FILE --bounds bounds.txt             sets the bounds to what is counted now

DIR is the folder of the release build, FILE a pattern file.
"""

import argparse
import json
import math
import os
import re
import subprocess
import sys

import exact

READ_PEERS = ["pread", "ring", "ring-fixed", "monoio", "monoio-coop", "compio", "compio-defer",
              *(f"mfio-{rt}{face}" for rt in ("local", "native") for face in ("", "-vec", "-borrowed", "-blocking"))]

# Multiples of every depth and batch, so that both runs end with full batches.
SHORT, LONG = 2048, 6144


def read_command(args, peer, depth):
    program = os.path.join(args.bin, "hot-read")
    return lambda n: [program, peer, "--file", args.file, "--depth", str(depth), "--reads", str(n), "--warm", "no"]


def core_command(args, case):
    return lambda n: [os.path.join(args.bin, "core"), *case.split(), "--requests", str(n)]


def face_command(args, case):
    return lambda n: [os.path.join(args.bin, "faces"), *case.split(), "--file", args.file, "--requests", str(n)]


def show(name, counts):
    print(json.dumps({"case": name, **{k: v if isinstance(v, dict) else round(v, 3) for k, v in counts.items()}}), flush=True)


def reads(args):
    for peer in args.peers.split(",") if args.peers else READ_PEERS:
        for depth in map(int, args.depths.split(",")):
            if depth > 1 and peer.endswith("-blocking"):
                continue
            show(f"{peer} depth {depth}", exact.per_request(read_command(args, peer, depth), SHORT, LONG))


def core(args):
    sides, found = args.sides.split(","), {}
    for case in exact.run([os.path.join(args.bin, "core"), "list"]).splitlines():
        side, what = case.split(maxsplit=1)
        if side in sides and args.only in what:
            found[side, what] = exact.per_request(core_command(args, case), SHORT, LONG, syscalls=False)
            show(case, found[side, what])
    for (side, what), new in found.items():
        old = found.get(("mfio01", what))
        if side != "mfio" or not old:
            continue
        line = (f"{what:26} {new['instructions']:8.1f} of {old['instructions']:8.1f} instructions: {new['instructions'] / old['instructions']:.2f}; "
                f"atomics {new['atomics']:.1f} of {old['atomics']:.1f}; allocations {new['allocations']:.2f} of {old['allocations']:.2f}")
        completes, _, in_flight = what.split()
        floor = found.get(("bare", f"{completes} packet {in_flight if completes == 'later' else 'one'}"))
        if floor:
            over = [counts["instructions"] - floor["instructions"] for counts in (new, old)]
            line += f"; above the floor {over[0]:.1f} of {over[1]:.1f}: {over[0] / over[1]:.2f}"
        print(line)


def faces(args):
    for case in exact.run([os.path.join(args.bin, "faces"), "list"]).splitlines():
        if args.only in case:
            show(case, exact.per_request(face_command(args, case), SHORT, LONG))


def where(args):
    command = [os.path.join(args.bin, args.words[0]), *args.words[1:]]
    length = "--reads" if args.words[0] == "hot-read" else "--requests"
    print("instructions atomics function")
    for instructions, atomics, fn in exact.by_function(lambda n: [*command, length, str(n)], SHORT, LONG):
        if instructions >= 0.5:
            print(f"{instructions:12.2f} {atomics:7.2f} {fn}")


def bounds_in(lines):
    """Lines `core|read|face CASE...: metric <= bound, metric <= bound`; # starts a comment."""
    for line in lines:
        line = line.split("#")[0].strip()
        if line:
            case, limits = line.split(":")
            pairs = (limit.split("<=") for limit in limits.split(","))
            yield case.split(), {metric.strip(): float(bound) for metric, bound in pairs}


def measure(args, kind, case, limits):
    if kind == "read":
        command = read_command(args, case[0], int(case[1]))
    else:
        command = {"core": core_command, "face": face_command}[kind](args, " ".join(case))
    return exact.per_request(command, SHORT, LONG, syscalls="syscalls" in limits)


def no_ring(args):
    """Why this machine has no io_uring, or None. Containers refuse it by default."""
    done = subprocess.run([*read_command(args, "ring", 1)(1)], capture_output=True, text=True)
    return done.stderr.strip().splitlines()[0] if done.returncode else None


def gate(args):
    missing, failed = no_ring(args), 0
    with open(args.bounds, encoding="utf-8") as lines:
        for (kind, *case), limits in bounds_in(lines):
            if kind != "core" and missing:
                print(f"skipped: {' '.join(case)}: no io_uring here: {missing}")
                continue
            counts = measure(args, kind, case, limits)
            for metric, bound in limits.items():
                # A few counts belong to the runs' ends (a buffer that grows once more): a hundredth of a request is none.
                over = counts[metric] > bound + 0.01
                failed += over
                print(f"{'OVER' if over else 'ok  '} {kind} {' '.join(case)}: {metric} {counts[metric]:.3f}, bound {bound:g}", flush=True)
    print(f"{failed} counts are above their bounds" if failed else "check: all counts are within their bounds")
    return 1 if failed else 0


def freeze(args):
    """Rewrites the bounds from what is counted now: instructions with some room for another compiler, the rest exactly."""
    with open(args.bounds, encoding="utf-8") as file:
        lines = file.readlines()
    for index, line in enumerate(lines):
        for (kind, *case), limits in bounds_in([line]):
            counts = measure(args, kind, case, limits)
            for metric in limits:
                room = 1.03 if metric == "instructions" else 1
                bound = math.ceil(counts[metric] * room) if room > 1 else round(counts[metric], 3)
                line = re.sub(rf"\b{metric} <= [0-9.]+", f"{metric} <= {bound:g}", line)
        lines[index] = line
    with open(args.bounds, "w", encoding="utf-8") as file:
        file.writelines(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    for name, act in [("reads", reads), ("core", core), ("faces", faces), ("where", where), ("gate", gate),
                      ("freeze", freeze)]:
        kind = kinds.add_parser(name)
        kind.set_defaults(act=act)
        kind.add_argument("--bin", required=True)
        if name in ("reads", "faces", "gate", "freeze"):
            kind.add_argument("--file", required=True)
        if name == "reads":
            kind.add_argument("--peers")
            kind.add_argument("--depths", default="1,32")
        if name == "core":
            kind.add_argument("--sides", default="bare,mfio,mfio01")
        if name in ("core", "faces"):
            kind.add_argument("--only", default="", help="cases that contain this text")
        if name == "where":
            kind.add_argument("words", nargs=argparse.REMAINDER)
        if name in ("gate", "freeze"):
            kind.add_argument("--bounds", required=True)
    args = parser.parse_args()
    sys.exit(args.act(args))


if __name__ == "__main__":
    main()
