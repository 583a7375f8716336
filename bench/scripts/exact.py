"""Exact counts of what a program executes per request: user-space instructions, atomic read-modify-writes, allocations, system calls.

Each count is taken at two lengths of the same run and the difference divided by the extra requests, so that set-up, the loader and tear-down
cancel. callgrind counts instructions (hardware counters are often missing in virtual machines); with --dump-instr it keeps a count for each
address, and objdump tells which addresses hold a locked instruction. Calls to the allocator are counted at the call, so the program under
test runs as it is, without a counting allocator in its way. strace counts system calls.
"""

import functools
import os
import re
import subprocess
import tempfile
from collections import Counter, defaultdict

# A run that takes longer than this is stuck.
LIMIT_S = 120

# Names under which memory is asked for. Calls from within libc itself (realloc to malloc) are not the program's.
ALLOCATORS = {"malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc", "memalign"}

# What the harness spends on choosing a block and checking it: the same in every peer, so it is taken out of a comparison.
HARNESS = re.compile(r"mfio_bench::walk::Walk::|(core|faces)::work::Work::")

LOCKED = re.compile(r"^\s*([0-9a-f]+):\s+(?:lock |xchg\s+%\w+,.*\(|xchg\s+.*\(.*\),%)")


def run(command):
    """Runs a command and returns its standard output; a failure shows what it said."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\nended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


@functools.lru_cache(maxsize=None)
def locked_addresses(path):
    """The addresses in an object file that hold an atomic read-modify-write: a lock prefix, or xchg with memory, which locks by itself."""
    if not os.path.exists(path):
        return frozenset()
    listing = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", path], capture_output=True, text=True, check=True
    ).stdout
    return frozenset(int(m.group(1), 16) for m in map(LOCKED.match, listing.splitlines()) if m)


def parse(lines):
    """Sums a callgrind profile: counts by (object, function) and address, and calls by (calling object, called function)."""
    sites, calls = defaultdict(Counter), Counter()
    obj = fn = callee = None
    call_line = False
    for line in lines:
        if call_line:  # The line after calls= repeats the callee's whole cost: not the caller's own.
            call_line = False
        elif line[:2] == "0x":
            address, _, count = line.split()
            sites[obj, fn][int(address, 16)] += int(count)
        elif line.startswith("ob="):
            obj = line[3:].rstrip()
        elif line.startswith("fn="):
            fn = line[3:].rstrip()
        elif line.startswith("cfn="):
            callee = line[4:].rstrip()
        elif line.startswith("calls="):
            calls[obj, callee.split("'")[0]] += int(line[6:].split()[0])
            call_line = True
    return sites, calls


def callgrind(command):
    """Runs a command under callgrind and returns its counts, and instructions and atomics by function."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out")
        run(["valgrind", "--tool=callgrind", "--dump-instr=yes", "--compress-pos=no", "--compress-strings=no",
             f"--callgrind-out-file={out}", *command])
        with open(out, encoding="utf-8", errors="replace") as profile:
            sites, calls = parse(profile)
    instructions, atomics = Counter(), Counter()
    for (obj, fn), counts in sites.items():
        instructions[fn] += sum(counts.values())
        locked = locked_addresses(obj) if obj else ()
        atomics[fn] += sum(count for address, count in counts.items() if address in locked)
    harness = sum(count for fn, count in instructions.items() if fn and HARNESS.search(fn))
    allocations = sum(
        count for (obj, callee), count in calls.items()
        if callee in ALLOCATORS and obj and "libc" not in os.path.basename(obj) and "ld-linux" not in obj
    )
    counts = {"instructions": sum(instructions.values()) - harness, "harness": harness, "atomics": sum(atomics.values()),
              "allocations": allocations}
    return counts, (instructions, atomics)


def strace(command):
    """Runs a command under strace and returns how often it made each system call."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out")
        run(["strace", "-f", "-c", "-o", out, *command])
        table = Counter()
        with open(out, encoding="utf-8") as summary:
            for line in summary:
                words = line.split()
                if len(words) >= 5 and words[3].isdigit() and words[-1] != "total":
                    table[words[-1]] += int(words[3])
        return table


def per_request(command_for, short, long, syscalls=True):
    """Counts per request of the runs `command_for(requests)`, by the difference between a short and a long one."""
    (first, _), (second, _) = callgrind(command_for(short)), callgrind(command_for(long))
    extra = long - short
    counts = {name: (second[name] - first[name]) / extra for name in first}
    if syscalls:
        few, many = strace(command_for(short)), strace(command_for(long))
        counts["syscalls"] = (sum(many.values()) - sum(few.values())) / extra
        counts["which"] = {name: (many[name] - few[name]) / extra for name in many if many[name] != few[name]}
    return counts


def by_function(command_for, short, long):
    """Where the instructions of one request are spent: (instructions, atomics, function), most first."""
    (_, first), (_, second) = callgrind(command_for(short)), callgrind(command_for(long))
    for few, many in zip(first, second):
        many.subtract(few)
    instructions, atomics = second
    return [(count / (long - short), atomics[fn] / (long - short), fn) for fn, count in instructions.most_common() if count]
