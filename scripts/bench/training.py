"""Time and memory of one training step: ours beside trl, RRHF's way, padded rows and eager attention.

    python scripts/bench/training.py [--quick] [--json FILE] [--only TEXT]

Random models, adapters of rank 16 on all linear layers, no dropout, the same token ids for all. That the losses and the
adapters' gradients are equal is checked before anything is timed. On a CPU denormal numbers are flushed for all. On a
GPU larger models run in bfloat16 against trl; that part has not been run yet. Optimizer, data loading and saving are
not measured.
"""

import argparse
import dataclasses
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import flops
import peft
import rivals
import shapes
import stopwatch
import torch
import transformers
import trl
from rivals import Contender, Loss
from shapes import Lengths, Shape
from stopwatch import Figures, Stopwatch

from align.errors import AlignError
from align.io import write_json
from align.models.denormals import flushed
from align.text.collate import Group

SEED = 1
LOSS_TOLERANCE = {"cpu": 1e-4, "cuda": 1e-2}
"""Relative. trl subtracts log-probabilities that are summed in float32, which rounds a thousand nats to 1e-4."""
GRADIENT_TOLERANCE = {"cpu": 1e-4, "cuda": 5e-2}
"""Relative to the largest gradient."""
QUICK, TINY = 4, 24
"""Divisors of shapes and lengths."""
MISTAKE = 2


@dataclass(frozen=True)
class Case:
    """One step, taken by several."""

    shape: Shape
    loss: Loss
    k: int
    lengths: Lengths
    against: tuple[str, ...]
    tokens: int = 384
    """Of a prompt with one response."""
    count: int = 1
    """Prompts."""
    variants: tuple[str, ...] = ("grouped",)
    """Ours."""
    memory_only: bool = False
    """Not timed; the full logits are those of response tokens, as all of them fit nowhere."""

    @property
    def name(self) -> str:
        """For the progress lines and `--only`."""
        return f"{self.shape.name} {self.loss} k={self.k} {self.lengths}"


@dataclass
class Row:
    """One of ours against one other; the fields are those of the JSON."""

    model: str
    vocab: int
    loss: Loss
    k: int
    lengths: Lengths
    variant: str
    against: str
    time_ratio: float | None
    """Above 1: ours is faster."""
    memory_ratio: float | None
    """Below 1: ours is smaller."""
    equal: bool


def main(argv: Sequence[str] | None = None) -> int:
    """The whole bench; returns the exit code: 1 if a loss or a gradient differs, 2 for a mistake, otherwise 0."""
    arguments = parser().parse_args(argv)
    try:
        return bench(arguments)
    except AlignError as error:
        print(f"training: {error}", file=sys.stderr)
        return MISTAKE


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(prog="training", description="Time and memory of a step, ours and others'.")
    found.add_argument("--quick", action="store_true", help="small shapes, one round: shows that it works, no figures")
    found.add_argument("--tiny", action="store_true", help="with --quick: the smallest shapes, for tests")
    found.add_argument("--rounds", type=int, default=stopwatch.ROUNDS, metavar="N", help="at first; 5")
    found.add_argument("--only", default="", metavar="TEXT", help="cases whose name holds it, such as 'dpo k=2 1:1'")
    found.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    return found


def bench(arguments: argparse.Namespace) -> int:
    """Measure and print."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        torch.set_num_threads(1)
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    watch, rate = Stopwatch(device), flops.matmul_rate(device)
    rounds = 1 if arguments.quick else arguments.rounds
    print("\n".join(header(watch, rate, rounds)), flush=True)
    rows: list[Row] = []
    for case in chosen(device, arguments):
        print(f"\n{case.name}", flush=True)
        rows += apart(case, device, rate, rounds)
    print("\n".join(["", *table(rows, targets=device.type == "cpu" and not arguments.quick)]))
    if arguments.json:
        write_json(arguments.json, [dataclasses.asdict(row) for row in rows])
    return 0 if all(row.equal for row in rows) else 1


def chosen(device: torch.device, arguments: argparse.Namespace) -> Iterator[Case]:
    """The cases to run, made small where that is asked for."""
    divisor = (TINY if arguments.tiny else QUICK) if arguments.quick else 1
    for case in on_gpu() if device.type == "cuda" else on_cpu():
        if arguments.only in case.name:
            small = dataclasses.replace(case, shape=case.shape.small(divisor), tokens=max(case.tokens // divisor, TINY))
            yield case if divisor == 1 else small


def on_cpu() -> list[Case]:
    """What PERFORMANCE.md has a target for, and the other shapes beside it."""
    trls, both = ("trl", "trl_compact"), ("grouped", "grouped+reference_file")
    eager = [
        Case(dataclasses.replace(shapes.BLOOM_ATTENTION, name=f"bloom h512 L4 T={t}"), "sft", 1, "1:1", ("eager",), t)
        for t in (512, 1024, 2048)
    ]
    return [
        Case(shapes.BIGCODE, "dpo", 2, "2:1", trls, variants=(*both, "plain")),
        Case(shapes.BIGCODE, "dpo", 2, "1:1", trls, variants=both),
        Case(shapes.BIGCODE, "dpo", 2, "ragged", trls, tokens=192, count=2, variants=both),
        Case(shapes.BLOOM, "dpo", 2, "2:1", trls, tokens=192, variants=both),
        Case(shapes.BLOOM_560M, "dpo", 2, "2:1", trls, variants=both),
        Case(shapes.STARCODER2, "dpo", 2, "2:1", trls, variants=both),
        Case(shapes.BIGCODE, "sft", 1, "2:1", trls, tokens=192, count=2),
        Case(shapes.BLOOM, "sft", 1, "ragged", trls, tokens=96, count=4),
        Case(shapes.BIGCODE, "rrtf", 4, "2:1", ("rrhf",), tokens=192),
        Case(shapes.BIGCODE, "rrtf", 8, "1:1", ("rrhf",), tokens=192),
        Case(shapes.BIGCODE, "rrtf", 4, "ragged", ("padded",), tokens=96, count=8),
        *eager,
        Case(shapes.BLOOM, "rrtf", 8, "2:1", ("rrhf",), tokens=768, memory_only=True),
    ]


def on_gpu() -> list[Case]:
    """Larger models, up to 2048 tokens. On CUDA trl itself scores completion tokens only."""
    both = ("grouped", "grouped+reference_file")
    return [
        case
        for shape in shapes.ON_GPU
        for case in (
            Case(shape, "dpo", 2, "2:1", ("trl",), tokens=2048, variants=both),
            Case(shape, "dpo", 2, "1:1", ("trl",), tokens=1024, count=2, variants=both),
            Case(shape, "sft", 1, "ragged", ("trl",), tokens=1024, count=4),
            Case(shape, "rrtf", 4, "2:1", ("rrhf",), tokens=1024),
        )
    ]


def apart(case: Case, device: torch.device, rate: float, rounds: int) -> list[Row]:
    """The case in a process of its own, where it can be forked: what one leaves of its heap, the next would count."""
    if device.type == "cuda":
        return compared(case, device, rate, rounds)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(compared, (case, device, rate, rounds))


@flushed()
def compared(case: Case, device: torch.device, rate: float, rounds: int) -> list[Row]:
    """Check that all take the same step, then measure them."""
    watch = Stopwatch(device)
    groups = shapes.rows(case.shape.vocab, case.k, case.lengths, case.tokens, case.count, SEED)
    model = shapes.build(case.shape, device, SEED)
    contenders = {name: contender(name, case, shapes.twin(model), groups) for name in (*case.against, *case.variants)}
    row = partial(Row, case.shape.name, case.shape.vocab, case.loss, case.k, case.lengths)
    pairs = [(variant, other) for variant in case.variants for other in case.against]
    unequal = differences(contenders, case.against[0], device)
    if unequal:
        print("\n".join(unequal), flush=True)
        return [row(*pair, None, None, equal=False) for pair in pairs]
    steps = {name: found.step for name, found in contenders.items()}
    figures = watch.measure(steps, [] if case.memory_only else pairs, 1 if case.memory_only else rounds)
    for name in contenders:
        without = case.loss != "dpo" or name == "grouped+reference_file"
        floor = flops.step_flops(model, groups, reference=not without)
        print(described(name, figures[name], groups, floor / rate), flush=True)
    return [row(*pair, *ratios(case, figures, pair), equal=True) for pair in pairs]


def contender(name: str, case: Case, model: peft.PeftModel, groups: Sequence[Group]) -> Contender:
    """One of ours, or one of the others, by its name."""
    if name in ("trl", "trl_compact"):
        return rivals.of_trl(model, groups, case.loss, compact=name == "trl_compact")
    if name == "rrhf":
        return rivals.rrhf(model, groups, case.loss, all_positions=not case.memory_only)
    layout = "plain" if name in ("plain", "padded", "eager") else "grouped"
    known = name == "grouped+reference_file"
    return rivals.ours(model, groups, case.loss, layout, reference_file=known, fused=name != "eager")


def differences(contenders: dict[str, Contender], first: str, device: torch.device) -> list[str]:
    """A line for each contender whose loss or gradients are not those of the first, or are none."""
    loss = float(contenders[first].step())
    gradients = contenders[first].gradients()
    largest = max(float(value.abs().max()) for value in gradients.values())
    lines = []
    for name, found in contenders.items():
        other = float(found.step())
        mine = found.gradients()
        found.model.zero_grad(set_to_none=True)
        apart = abs(other - loss) / abs(loss)
        furthest = max(float((mine[key] - value).abs().max()) for key, value in gradients.items()) / largest
        print(f"  {name:<24} loss {other:.7f} ({apart:.0e} apart), gradients {furthest:.0e} of the largest", flush=True)
        within = apart <= LOSS_TOLERANCE[device.type] and furthest <= GRADIENT_TOLERANCE[device.type]
        if not (within and largest > 0):
            lines.append(f"  {name} takes another step than {first}: not timed")
    return lines


def ratios(case: Case, figures: dict[str, Figures], pair: tuple[str, str]) -> tuple[float | None, float | None]:
    """Time and memory."""
    memory = stopwatch.memory_ratio(figures, *pair)
    spread = stopwatch.spread(figures, *pair)
    faster = None if case.memory_only else stopwatch.time_ratio(figures, *pair)
    if faster and spread > stopwatch.SPREAD:
        print(f"  {' against '.join(pair)}: the rounds' ratios are {100 * spread:.0f} % apart", flush=True)
    return None if faster is None else round(faster, 3), None if memory is None else round(memory, 3)


def described(name: str, figures: Figures, groups: Sequence[Group], floor_seconds: float) -> str:
    """What one contender has taken."""
    seconds = statistics.median(figures.seconds)
    tokens = sum(len(group.prompt) + len(response) for group in groups for response in group.responses)
    peak = f"{statistics.median(figures.bytes) / 1e6:,.0f} MB" if figures.bytes else "memory not measured"
    share = f"{100 * floor_seconds / seconds:.0f} % of the floor's rate"
    rounds = f"{len(figures.seconds)} rounds"
    return f"  {name:<24} {seconds:.3f} s, {tokens / seconds:,.0f} tokens/s, {peak}, {share}, {rounds}"


def target(row: Row) -> tuple[float | None, float | None]:
    """PERFORMANCE.md's: least time ratio and greatest memory ratio."""
    if row.against == "eager":
        return {"T=1024": (1.25, 0.65), "T=2048": (1.6, 0.5)}.get(row.model.split()[-1], (None, None))
    if row.loss == "rrtf":
        if row.time_ratio is None:
            return None, 0.5
        goals = {("rrhf", 4, "2:1"): (2.2, 0.35), ("padded", 4, "ragged"): (3.5, 0.33)}
        return goals.get((row.against, row.k, row.lengths), (None, None))
    if row.loss != "dpo" or row.variant == "plain" or row.lengths == "ragged":
        return None, None
    even = row.lengths == "1:1"
    if row.variant == "grouped+reference_file":
        return (1.8 if even else 2.0) if row.against == "trl_compact" else None, None
    if row.vocab > 250_000:
        return 1.8 if row.against == "trl_compact" else 4.5, None
    return (1.25 if even else 1.4, 0.52) if row.against == "trl_compact" else (1.9 if even else 2.5, 0.36)


def table(rows: Sequence[Row], *, targets: bool) -> list[str]:
    """All rows, with PERFORMANCE.md's targets where these hold; MISSED where one is."""
    lines = ["| model | loss | k | lengths | ours | against | × faster | memory |", "|---|---|---|---|---|---|---|---|"]
    for row in rows:
        least, greatest = target(row) if targets else (None, None)
        what = f"{row.model} | {row.loss} | {row.k} | {row.lengths} | {row.variant} | {row.against}"
        faster = told(row.time_ratio, least, 1) if row.equal else "UNEQUAL"
        lines.append(f"| {what} | {faster} | {told(row.memory_ratio, greatest, -1)} |")
    return lines


def told(ratio: float | None, goal: float | None, better: int) -> str:
    """A ratio with its target; `better` is 1 where more is better, -1 where less is."""
    if ratio is None:
        return "–"
    if goal is None:
        return f"{ratio:.2f}"
    return f"{ratio:.2f} (target {goal}{', MISSED' if (goal - ratio) * better > 0 else ''})"


def header(watch: Stopwatch, rate: float, rounds: int) -> list[str]:
    """The conditions."""
    where = f"{platform.processor() or platform.machine()}, one pinned thread"
    if watch.device.type == "cuda":
        where = torch.cuda.get_device_name(watch.device)
    versions = ", ".join(f"{module.__name__} {module.__version__}" for module in (torch, transformers, trl, peft))
    return [
        f"{time.strftime('%Y-%m-%d')}, {where}, {versions}, seed {SEED}, {rounds} rounds or more",
        f"matrix products: {rate / 1e9:,.1f} GFLOP/s of a large one; the floor is the step's least at that rate",
        f"equal: loss within {LOSS_TOLERANCE[watch.device.type]:g}, adapters' gradients within "
        f"{GRADIENT_TOLERANCE[watch.device.type]:g} of the largest",
        *([] if watch.sees_memory else ["memory is left out: /proc/self/clear_refs is not writable"]),
    ]


if __name__ == "__main__":
    sys.exit(main())
