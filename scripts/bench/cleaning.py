"""Rows per second and memory of cleaning, and what of planted near-duplicates is found.

The rows are made up: words by Zipf's law, a prompt of about 60, a short program; each tenth row is an earlier one with
some words changed, so the Jaccard index of every planted pair is known. Every case runs in a process of its own, whose
peak of resident memory is read from the system; that of its workers stands apart. Recall against benchmarks is
`decontamination.py`.
"""

import argparse
import itertools
import json
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from align.clean.chain import Chain
from align.clean.checks import Rules
from align.clean.decontaminate import Decontaminator
from align.clean.near import Match, Sketcher, near_duplicates
from align.clean.quality import Quality
from align.errors import AlignError
from align.io import read, scan, write, write_json
from align.schema import Problem
from align.text.similarity import ngrams, tokens

ROOT = Path(__file__).parents[2]
HELD_OUT = ROOT / "data" / "offline" / "heldout.jsonl"
SEED, VOCABULARY, WORDS, RECENT = 1, 50_000, 60, 1000
SIZES, QUICK = (10_000, 100_000, 1_000_000), (2_000,)
PEERS = 10_000
"""Rows that others are given, too."""
MISTAKE = 2


@dataclass
class Row:
    """One case at one size; the fields are those of the JSON."""

    case: str
    rows: int
    rows_per_s: float
    peak_mib: float
    """Of the process."""
    worker_mib: float
    """Of its largest worker."""
    kept: int
    dropped: dict[str, int]


@dataclass
class Found:
    """What one way finds of the pairs whose Jaccard index is at least the threshold."""

    by: str
    pairs: int
    recall: float
    precision: float
    """Share of its drops that have an earlier row at least that alike."""
    rows_per_s: float


def problems(count: int) -> Iterator[tuple[Problem, int | None]]:
    """Made-up problems, each with the place of the earlier one that it was made from, if it was."""
    draw, ranks = random.Random(SEED), np.random.default_rng(SEED)
    words = ["".join(one) for one in itertools.islice(itertools.product(SYLLABLES, repeat=3), VOCABULARY)]
    recent: list[tuple[int, list[str]]] = []
    for row in range(count):
        parent = None
        if recent and draw.random() < 0.1:
            parent, text = draw.choice(recent)
            text = list(text)
            for place in draw.sample(range(len(text)), draw.randint(0, 6)):
                text[place] = draw.choice(words)
        else:
            length = max(15, int(draw.gauss(WORDS, 20)))
            text = [words[rank % VOCABULARY] for rank in ranks.zipf(1.3, length).tolist()]
        recent.append((row, text))
        if len(recent) > RECENT:
            recent.pop(0)
        yield Problem(prompt=" ".join(text), reference=program(draw, row), entry_point="solve"), parent


SYLLABLES = [consonant + vowel for consonant in "bcdfghjklmnprstvwz" for vowel in ("a", "e", "i", "o", "u")]


def program(draw: random.Random, row: int) -> str:
    """A short function."""
    steps = "".join(f"    x{n} = values[{draw.randint(0, 9)}] + {draw.randint(0, 999)}\n" for n in range(6))
    return f'def solve(values):\n    """Row {row}."""\n{steps}    return x0 - x5  # the last\n'


def cases() -> dict[str, Callable[[], Rules]]:
    """Name → rules; `all` is everything but the runs on benchmarks' tests."""
    held = [("held out", read(HELD_OUT, Problem))]
    quality = Quality(min_words=3, parses=True, has_function=True, no_placeholder=True, max_line_length=1000)
    return {
        "exact": Rules,
        "near": lambda: Rules(near=Sketcher()),
        "decontaminate": lambda: Rules(decontaminator=Decontaminator(held)),
        "quality": lambda: Rules(quality=quality),
        "secrets": lambda: Rules(secrets="replace"),
        "all": lambda: Rules("replace", quality, None, Decontaminator(held), "prompt", Sketcher()),
    }


def run_case(name: str, file: Path, workers: int | None) -> Row:
    """Clean a file by one case's rules in this process."""
    rules, start = cases()[name](), time.perf_counter()
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        chain, total = Chain(rules, Path(folder), workers=workers, label=name), 0
        out = Path(folder) / "kept.jsonl"
        counted = (one for one in chain.run(problem for _, problem in scan(file, Problem)))
        kept = write_lines(out, (one.line for one in counted if one.fault is None))
        total = kept + sum(chain.faults.values())
    seconds = time.perf_counter() - start
    peaks = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return Row(name, total, round(total / seconds, 1), round(peaks[0]), round(peaks[1]), kept, dict(chain.faults))


def write_lines(path: Path, lines: Iterator[str]) -> int:
    """How many there were."""
    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
        return sum(1 for line in lines if file.write(f"{line}\n"))


def apart(name: str, file: Path, workers: int | None) -> Row:
    """The case in a new process, whose memory is its own."""
    command = [sys.executable, __file__, "--case", name, "--file", str(file)]
    done = subprocess.run(
        [*command, *(["--workers", str(workers)] if workers else [])], stdout=subprocess.PIPE, text=True, check=True
    )
    return Row(**json.loads(done.stdout))


def same_with_any_workers(file: Path) -> bool:
    """Whether one worker and two leave the same lines."""
    left = []
    for workers in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            chain = Chain(cases()["all"](), Path(folder), workers=workers)
            left.append(list(chain.run(problem for _, problem in scan(file, Problem))))
    return left[0] == left[1]


def judged(count: int) -> list[Found]:
    """Ours and others' near-duplicates among the same texts, against the true Jaccard index."""
    made = list(problems(count))
    texts = [str(problem.prompt) for problem, _ in made]
    sets = [set(ngrams(tokens(text), 5)) for text in texts]
    alike = {row for row, (_, of) in enumerate(made) if of is not None and similarity(sets, row, of) >= 0.7}
    found = []
    for name, search in {"align": ours, "datasketch": by_datasketch, "rensa": by_rensa}.items():
        start = time.perf_counter()
        try:
            pairs = search(texts)
        except ImportError:
            print(f"{name} is not installed", file=sys.stderr)
            continue
        seconds = time.perf_counter() - start
        right = [of is None or similarity(sets, row, of) >= 0.7 for row, of in pairs]
        recall = len(alike & {row for row, _ in pairs}) / max(1, len(alike))
        precise = float("nan") if any(of is None for _, of in pairs) else sum(right) / max(1, len(right))
        found.append(Found(name, len(alike), round(recall, 4), round(precise, 4), round(count / seconds, 1)))
    return found


def similarity(sets: Sequence[set[tuple[str, ...]]], row: int, of: int) -> float:
    """Jaccard index of two rows."""
    return len(sets[row] & sets[of]) / len(sets[row] | sets[of])


def ours(texts: list[str]) -> list[tuple[int, int | None]]:
    """Drops and what they are like."""
    matches: list[Match] = near_duplicates(texts, Sketcher())
    return [(match.row, match.of) for match in matches]


def by_datasketch(texts: list[str]) -> list[tuple[int, int | None]]:
    """datasketch's MinHashLSH, as BigCode used it: what shares a band goes."""
    from datasketch import MinHash, MinHashLSH

    index, found = MinHashLSH(threshold=0.7, num_perm=256), []
    for row, text in enumerate(texts):
        signature = MinHash(num_perm=256, seed=SEED)
        signature.update_batch([" ".join(gram).encode() for gram in ngrams(tokens(text), 5)])
        if earlier := index.query(signature):
            found.append((row, min(earlier)))
        else:
            index.insert(row, signature)
    return found


def by_rensa(texts: list[str]) -> list[tuple[int, int | None]]:
    """rensa's own deduplicator, which names no pairs."""
    from rensa import RMinHashDeduplicator

    kept = RMinHashDeduplicator(threshold=0.7, num_perm=256, use_lsh=True, num_bands=32).add_pairs(
        (str(row), [" ".join(gram) for gram in ngrams(tokens(text), 5)]) for row, text in enumerate(texts)
    )
    return [(row, None) for row, stays in enumerate(kept) if not stays]


def header() -> str:
    """The conditions."""
    parts = [f"{date.today()}", platform.platform(), f"Python {platform.python_version()}"]
    for name in ("numpy", "rensa", "datasketch", "detect-secrets"):
        try:
            parts.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            parts.append(f"{name} absent")
    return ", ".join([*parts, f"seed {SEED}"])


def bench(arguments: argparse.Namespace) -> int:
    """Measure and print; 1 if results differ between numbers of workers, or a drop is not alike."""
    print(header(), flush=True)
    sizes = QUICK if arguments.quick else arguments.rows or SIZES
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "small.jsonl"
        write(small, (problem for problem, _ in problems(1000)))
        equal = same_with_any_workers(small)
        print(f"the same with one worker and two: {equal}\n\n{'case':<14} rows rows/s MiB worker MiB kept", flush=True)
        for size in sizes:
            file = Path(folder) / "rows.jsonl"
            write(file, (problem for problem, _ in problems(size)))
            for name in arguments.only or cases():
                rows.append(apart(name, file, arguments.workers))
                row = rows[-1]
                told = f"{row.rows:,} {row.rows_per_s:,.0f} {row.peak_mib:.0f} {row.worker_mib:.0f} {row.kept:,}"
                print(f"{name:<14} {told} {row.dropped}", flush=True)
    found = judged(min(PEERS, max(sizes)))
    for one in found:
        told = f"recall {one.recall:.1%} of {one.pairs}, precision {one.precision:.1%}, {one.rows_per_s:,.0f} rows/s"
        print(f"near-duplicates at 0.7 by {one.by}: {told}")
    if arguments.json:
        write_json(arguments.json, {"cases": [asdict(row) for row in rows], "near": [asdict(one) for one in found]})
    return 0 if equal and found[0].precision == 1 else 1


def main(argv: Sequence[str] | None = None) -> int:
    """The whole bench, or one case for it; returns the exit code."""
    found = argparse.ArgumentParser(prog="cleaning", description="Speed and memory of cleaning.")
    found.add_argument("--quick", action="store_true", help="2,000 rows: shows that it works, no figures")
    found.add_argument("--rows", type=int, nargs="+", metavar="N", help="sizes; 10,000, 100,000 and a million")
    found.add_argument("--only", nargs="+", metavar="CASE", help="cases by name")
    found.add_argument("--workers", type=int, metavar="N", help="processes; as many as cores")
    found.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    found.add_argument("--case", help=argparse.SUPPRESS)
    found.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    arguments = found.parse_args(argv)
    try:
        if arguments.case:
            print(json.dumps(asdict(run_case(arguments.case, arguments.file, arguments.workers))))
            return 0
        return bench(arguments)
    except AlignError as error:
        print(f"cleaning: {error}", file=sys.stderr)
        return MISTAKE


if __name__ == "__main__":
    sys.exit(main())
