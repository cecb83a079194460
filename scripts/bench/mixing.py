"""Whether mixtures are exact and the same with any number of processes, and how fast they are rendered, drawn, written.

The sources are made up: 46 languages of three tasks, sizes and weights by Zipf's law, two templates each. Packing is
measured on the evaluation sets of `$ALIGN_TEST_DATA`, by default the folder beside the checkout, all of them rendered
(they are measured here, and no model is trained on them), with a tokenizer trained on the rendered text.
"""

import argparse
import itertools
import json
import os
import platform
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np

from align.errors import AlignError
from align.io import read, rows, write, write_json
from align.mix import Source, Template, raw, read_templates
from align.mix.language import TWO_LETTERS
from align.mix.mixture import Lengths, Settings, mix
from align.mix.part import Part, parts
from align.mix.pool import build
from align.schema import MultitaskRow

ROOT = Path(__file__).parents[2]
SEED, LANGUAGES, TASKS = 1, 46, 3
DRAWN, QUICK = 100_000, 5_000
WITHIN = 0.005
"""By how much a drawn share may differ from the expected one."""
FULL, LENGTH, VOCABULARY = 0.98, 2048, 8192
MISTAKE = 2
TEMPLATES = (
    Template("ask", "{{ text }}\n\nIs it {{ option }}? ||| {{ 'yes' if right else 'no' }}, {{ option }}", "ask:1"),
    Template("write", "Write a sentence about {{ option }}. ||| {{ text }}", "write:1"),
)
OWN = """
- {name: mgsm, input: '{{ question }}', target: '{{ answer_number }}'}
- name: xwinograd
  input: 'Who or what is meant by _? {{ sentence }}'
  target: '{{ option1 if answer == "1" else option2 }}'
"""


@dataclass
class Rates:
    """Rows a second of each step, in this process unless workers are named."""

    rows: int
    rendering_one_worker: float
    rendering_two_workers: float
    drawing: float
    writing: float
    drawing_and_writing: float
    drawing_and_writing_by_cpu_time: float
    """By this process's CPU time: waits for the disk and for other processes are left out."""


@dataclass
class Packing:
    """Packed rows of the evaluation sets."""

    rows: int
    tokens: int
    packed_rows: int
    sets: int
    over_long: int
    fill: float


def made_up(folder: Path, count: int) -> tuple[list[Part], dict[str, float]]:
    """About `count` rows of many sets, and their weights."""
    draw, codes = random.Random(SEED), TWO_LETTERS.split()[:LANGUAGES]
    harmonic = sum(1 / rank for rank in range(1, LANGUAGES + 1))
    pairs: list[tuple[Source, Template | None]] = []
    for rank, code in enumerate(codes, start=1):
        each = max(20, int(count / harmonic / rank / TASKS / len(TEMPLATES)))
        for task in range(TASKS):
            path = folder / f"task{task}.{code}.jsonl"
            write(path, (row(draw, code) for _ in range(each)))
            pairs += [(raw(path), template) for template in TEMPLATES]
    draw.shuffle(codes)
    return parts(pairs), {code: 1 / rank**0.5 for rank, code in enumerate(codes, start=1)}


def row(draw: random.Random, code: str) -> dict[str, object]:
    """A text of about 40 words."""
    words = [f"{code}{draw.randint(0, 9999)}" for _ in range(draw.randint(10, 70))]
    return {"text": " ".join(words), "option": draw.choice(words), "right": draw.random() < 0.5}


def exact(path: Path, weights: dict[str, float], units: int) -> bool:
    """Whether a file has so many units, and every language the share that its weight says."""
    found = [(str(row["language"]), row.get("pack", number)) for number, (_, row) in enumerate(rows(path))]
    counted = Counter(code for code, _ in set(found))
    total = sum(weights.values())
    off = max(abs(counted[code] / units - weight / total) for code, weight in weights.items())
    unit = "rows" if len(found) == units else "packed rows"
    print(f"{len(found):,} rows in {counted.total():,} {unit}, {units:,} wanted: shares differ by {off:.4%} at most")
    return counted.total() == units and off <= WITHIN


def measure(folder: Path, count: int) -> tuple[Rates, bool]:
    """Rates, and whether shares are exact and bytes do not depend on the number of workers."""
    found, weights = made_up(folder / "data", count)
    rendering, pools = [], []
    for workers in (1, 2):
        start = time.perf_counter()
        pools.append(build(found, folder / f"pool{workers}", seed=SEED, workers=workers, label="bench"))
        rendering.append(len(pools[-1]) / (time.perf_counter() - start))
    pool = pools[0]
    same = pool.path.read_bytes() == pools[1].path.read_bytes()
    settings = Settings(weights=weights, size=count, max_repeats=1000, validation=0.05, seed=SEED)
    start, before = time.perf_counter(), time.process_time()
    made = mix(pool, settings)
    drawn = time.perf_counter()
    pool.write(folder / "rows1.jsonl", made.order)
    written, after = time.perf_counter(), time.process_time()
    pools[1].write(folder / "rows2.jsonl", mix(pools[1], settings).order)
    same = same and (folder / "rows1.jsonl").read_bytes() == (folder / "rows2.jsonl").read_bytes()
    print(f"the same bytes with one worker and two: {same}")
    # a tenth of a packed row is a row: lengths are characters here
    lengths = Lengths(np.full(len(pool), 20), pool.characters.astype(np.int64), LENGTH)
    blended = Settings(weights=weights, size=count // 10, max_repeats=1000, unit="packed_row", seed=SEED)
    packed = mix(pool, blended, lengths)
    pool.write(folder / "packed.jsonl", packed.order, packed.packs)
    exactly = exact(folder / "rows1.jsonl", weights, count)
    exactly = exact(folder / "packed.jsonl", weights, count // 10) and exactly
    steps = (count / (drawn - start), count / (written - drawn), count / (written - start), count / (after - before))
    rates = Rates(len(pool), *(round(rate) for rate in (*rendering, *steps)))
    return rates, same and exactly


def evaluation_sets(folder: Path, data: Path) -> list[Part]:
    """Every file under `multitask/` that a template is there for."""
    (folder / "own.yaml").write_text(OWN)
    mgsm, xwinograd = read_templates(folder / "own.yaml")
    xcopa = read_templates(data / "promptsource" / "xcopa__id.yaml")
    xquad = read_templates(data / "promptsource" / "xquad__xquad.en.yaml")
    pairs: list[tuple[Source, Template | None]] = [(raw(data / "xwinograd_dataset.tsv"), xwinograd)]
    pairs += [(raw(path), mgsm) for path in sorted((data / "mgsm").glob("*.tsv"))]
    pairs += list(itertools.product(map(raw, sorted((data / "xcopa").glob("*.jsonl"))), xcopa))
    pairs += list(itertools.product(map(raw, sorted((data / "xquad").glob("*.json"))), xquad))
    for path in sorted((data / "t0_samples").glob("*.jsonl")):
        columns = {"inputs": "prompt", "targets": "completion"}
        pairs.append((raw(path, language_code="en", columns=columns), None))
    return parts(pairs)


def packing(folder: Path, data: Path) -> Packing:
    """How full packed rows are, by language."""
    from align.models.tiny import train_tokenizer
    from align.text.encode import Encoder
    from align.text.token_store import TokenStore

    pool = build(evaluation_sets(folder, data), folder / "pool", seed=SEED, label="bench")
    texts = [f"{one.inputs} {one.targets}" for one in read(pool.path, MultitaskRow)]
    encoder = Encoder(train_tokenizer(texts[:: max(1, len(texts) // 4000)], VOCABULARY))
    store = TokenStore.of(pool.path, encoder, folder / "tokens")
    made = mix(pool, Settings(unit="packed_row", seed=SEED), Lengths(store.prompts, store.targets, LENGTH))
    tokens = int(made.lengths.whole[made.order].sum()) if made.lengths else 0
    fill = made.fill or 0.0
    return Packing(len(made.order), tokens, made.units, len(made.names), int(made.over_long.sum()), round(fill, 5))


def header() -> str:
    """The conditions."""
    told = f"{date.today()}, {platform.platform()}, Python {platform.python_version()}, numpy {version('numpy')}"
    return f"{told}, {len(os.sched_getaffinity(0))} cores, seed {SEED}"


def told(rates: Rates) -> Iterator[str]:
    """The rates for people."""
    for name, value in asdict(rates).items():
        yield f"{name.replace('_', ' '):<32} {value:>12,}" + (" rows/s" if name != "rows" else "")


def bench(arguments: argparse.Namespace) -> int:
    """Measure and print; 1 if a mixture is not exact or not the same, or packed rows are not full."""
    print(header(), flush=True)
    data = Path(os.environ.get("ALIGN_TEST_DATA", ROOT.parent / "shared")) / "data" / "multitask"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").mkdir()
        rates, right = measure(folder, QUICK if arguments.quick else DRAWN)
        print("\n".join(told(rates)), flush=True)
        packed = None
        if data.is_dir():
            packed = packing(folder, data)
            print(f"packed rows of {LENGTH} tokens, vocabulary {VOCABULARY}: {json.dumps(asdict(packed))}")
        else:
            print("packing is not measured: ALIGN_TEST_DATA: no such folder", file=sys.stderr)
    if arguments.json:
        write_json(arguments.json, {"rates": asdict(rates), "packing": asdict(packed) if packed else None})
    return 0 if right and (packed is None or packed.fill >= FULL) else 1


def main(argv: Sequence[str] | None = None) -> int:
    """The bench; returns the exit code."""
    found = argparse.ArgumentParser(prog="mixing", description="Exactness and speed of mixtures.")
    found.add_argument("--quick", action="store_true", help="5,000 rows: shows that it works, no figures")
    found.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    try:
        return bench(found.parse_args(argv))
    except AlignError as error:
        print(f"mixing: {error}", file=sys.stderr)
        return MISTAKE


if __name__ == "__main__":
    sys.exit(main())
