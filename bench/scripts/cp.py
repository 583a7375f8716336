#!/usr/bin/env python3
"""`mfio cp` beside `cp`: a tree of small files and one large file, warm and cold, interleaved, every copy compared with its source.

    cp.py --mfio PATH-TO-PROGRAM --folder DIR [--rounds 7] [--files 20000] [--big-mib 4096] [--cases tree-warm,tree-cold,big-warm,big-cold]

mfio keeps times and owners, so its peer is `cp -a`; `--peer=-r` compares with a `cp` that does less. Cold means that the page cache was dropped before the run, which needs root; without, the cold cases say so and are left out. A run ends
when the program exits, as with `cp`: neither waits for the disk. What it left dirty is synced before the next run, outside the clock, so that
nobody pays for another's writes. DIR should lie on the file system of interest and have room for twice the data; what is made there is
kept for the next call, save the copies.
"""

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import time

from pairs import median, summary

DROP = "/proc/sys/vm/drop_caches"
SEED = 20000


def make_tree(root, files):
    """Files of 0 to 64 KiB, most of them small, of three modes, a hundred to a folder."""
    done = os.path.join(root, ".made")
    if os.path.exists(done) and open(done, encoding="ascii").read() == str(files):
        return
    shutil.rmtree(root, ignore_errors=True)
    rng = random.Random(SEED)
    for index in range(files):
        folder = os.path.join(root, f"{index // 10000}", f"{index // 100:04}")
        if index % 100 == 0:
            os.makedirs(folder)
        size = 0 if rng.random() < 0.02 else int(2 ** rng.uniform(4, 16))
        path = os.path.join(folder, f"file-{index:05}")
        with open(path, "wb") as out:
            out.write(rng.randbytes(size))
        os.chmod(path, rng.choice([0o644, 0o644, 0o600, 0o755]))
    with open(done, "w", encoding="ascii") as out:
        out.write(str(files))


def make_big(path, mib):
    if os.path.exists(path) and os.path.getsize(path) == mib << 20:
        return
    rng = random.Random(SEED)
    block = rng.randbytes(1 << 20)
    with open(path, "wb") as out:
        for index in range(mib):
            # Distinct in every MiB, so that a misplaced block shows.
            out.write(index.to_bytes(8, "little") + block[8:])


def remove(path):
    if os.path.isdir(path):
        shutil.rmtree(path)
    elif os.path.exists(path):
        os.remove(path)


def drop_caches():
    with open(DROP, "w", encoding="ascii") as knob:
        knob.write("3\n")


def warm(path):
    """Reads everything under `path` once."""
    for folder, _, names in os.walk(path) if os.path.isdir(path) else [(os.path.dirname(path), [], [os.path.basename(path)])]:
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:
                while file.read(1 << 20):
                    pass


def timed(command):
    """Wall and CPU seconds of a command that must succeed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    wall = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def same(a, b, times):
    """Contents, modes, and (`times`) when files were last changed."""
    subprocess.run(["diff", "-r", "-q", a, b], check=True)
    if os.path.isdir(a):
        for folder, folders, names in os.walk(a):
            for name in folders + names:
                one = os.path.join(folder, name)
                other = os.path.join(b, os.path.relpath(one, a))
                if os.stat(one).st_mode != os.stat(other).st_mode:
                    raise SystemExit(f"{other}: its mode differs from {one}")
                if times and os.stat(one).st_mtime_ns != os.stat(other).st_mtime_ns:
                    raise SystemExit(f"{other}: its time differs from {one}")


def compare(args, case, source):
    tree, cold = case.startswith("tree"), case.endswith("cold")
    programs = {"mfio": [args.mfio, "cp", *(["-r"] if tree else [])], "cp": ["cp", args.peer]}
    runs = {name: [] for name in programs}
    for index in range(args.rounds):
        order = list(programs) if index % 2 == 0 else list(reversed(programs))
        for name in order:
            target = os.path.join(args.folder, f"copy-by-{name}")
            remove(target)
            subprocess.run(["sync"], check=True)
            if cold:
                drop_caches()
            elif index == 0:
                warm(source)
            runs[name].append(timed([*programs[name], source, target]))
            same(source, target, name == "mfio" or args.peer == "-a")
            remove(target)
    wall = {name: [w for w, _ in timings] for name, timings in runs.items()}
    cpu = {name: [c for _, c in timings] for name, timings in runs.items()}
    interval = summary if args.rounds >= 6 else lambda ratios: {"median": round(median(ratios), 4)}
    print(json.dumps({
        "case": case, "rounds": args.rounds, "peer": f"cp {args.peer}",
        # cp over mfio: above 1, mfio is faster, or cheaper.
        "speed_ratio": interval([c / m for m, c in zip(wall["mfio"], wall["cp"])]),
        "cpu_ratio": interval([c / m for m, c in zip(cpu["mfio"], cpu["cp"])]),
        "mfio_s": round(median(wall["mfio"]), 3), "cp_s": round(median(wall["cp"]), 3),
        "mfio_cpu_s": round(median(cpu["mfio"]), 3), "cp_cpu_s": round(median(cpu["cp"]), 3),
    }), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mfio", required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--big-mib", type=int, default=4096)
    parser.add_argument("--peer", default="-a", help="the option that cp gets")
    parser.add_argument("--cases", default="tree-warm,tree-cold,big-warm,big-cold")
    args = parser.parse_args()
    os.makedirs(args.folder, exist_ok=True)
    tree, big = os.path.join(args.folder, "tree"), os.path.join(args.folder, "big")
    for case in args.cases.split(","):
        if case.endswith("cold") and not os.access(DROP, os.W_OK):
            print(json.dumps({"case": case, "left_out": "dropping caches needs root"}))
            continue
        if case.startswith("tree"):
            make_tree(tree, args.files)
        else:
            make_big(big, args.big_mib)
        compare(args, case, tree if case.startswith("tree") else big)


if __name__ == "__main__":
    sys.exit(main())
