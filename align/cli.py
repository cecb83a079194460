"""The command line: few verbs, each a thin call into the library. Loads no torch by itself."""

import argparse
import contextlib
import errno
import io
import os
import select
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from .errors import AlignError

if TYPE_CHECKING:
    from .recipe import Recipe
    from .recipe.cards import Card

MISTAKE, INTERRUPTED = 2, 130
REPORT_SECONDS = 60.0
_WRITING = threading.Lock()
FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
}
IN_THE_WAY = {errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP}
"""What the system says where something else has a file's place, or may not be touched."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # a locale that lacks a character shows its escape
        sys.stdout.reconfigure(errors="backslashreplace")
    arguments = parse(argv)
    try:
        code = int(arguments.command(arguments))
        sys.stdout.flush()
        return code
    except AlignError as error:
        print(f"align: {error}", file=sys.stderr)
        return MISTAKE
    except KeyboardInterrupt:
        print("align: stopped; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        # nothing is left to say: what the interpreter flushes at its end goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno in FULL:
            print(
                f"align: {error.filename or 'writing'}: {FULL[error.errno]}: nothing finished is lost", file=sys.stderr
            )
            return MISTAKE
        if error.errno in IN_THE_WAY and (path := error.filename2 or error.filename):
            print(f"align: {path}: {error.strerror}: move away what stands there", file=sys.stderr)
            return MISTAKE
        raise


def _reader_is_gone() -> bool:
    """Whether it was our output's pipe that broke, and not one of a process of ours."""
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in output.poll(0))


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line's arguments; `key=value` may stand before or after the options."""
    top = parser()
    arguments, rest = top.parse_known_args(argv)
    if rest and not (hasattr(arguments, "overrides") and all("=" in word and word[0] != "-" for word in rest)):
        top.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        arguments.overrides = [*arguments.overrides, *rest]
    return arguments


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        self.exit(MISTAKE, f"{self.prog}: {message}: see {self.prog} -h\n")


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    from .score.command import configure

    top = _Parser(prog="align", description="Preference alignment of code models.")
    verbs = top.add_subparsers(required=True, metavar="COMMAND")
    run = verbs.add_parser("run", help="run a recipe: what is done is skipped, what was interrupted goes on")
    _recipe(run)
    which = run.add_mutually_exclusive_group()
    which.add_argument("--only", action="append", default=[], metavar="STAGE", help="run this stage alone (repeatable)")
    which.add_argument("--from", dest="start", metavar="STAGE", help="begin at this stage")
    run.add_argument("--force", action="append", default=[], metavar="STAGE", help="run again though it is done")
    run.add_argument("--run", metavar="NAME", help="name of the run below runs/")
    run.set_defaults(command=_run)
    plan = verbs.add_parser("plan", help="what would run, and why")
    _recipe(plan)
    plan.add_argument("--run", metavar="NAME", help="name of the run below runs/")
    plan.add_argument("--card", metavar="SIZE", help="plan memory for a GPU: 24GiB, or h100; by default this machine's")
    plan.add_argument("--tokens-per-second", type=_count, metavar="N", help="measured speed of training, for the time")
    plan.set_defaults(command=_plan)
    check = verbs.add_parser("check", help="verify a recipe; run nothing")
    _recipe(check)
    check.set_defaults(command=_check)
    score = verbs.add_parser("score", help="run samples on their problems' tests: pass@k and outcomes")
    configure(score)
    show = verbs.add_parser(
        "show", help="show a run, a stage, a file, or what has a name; alone: all that can be shown"
    )
    show.add_argument("path", nargs="?", help="a path, or a name such as rank, problem, recipe, models, templates")
    show.add_argument("--json", action="store_true", help="as JSON; of a file every record, one a line")
    show.add_argument("--limit", type=_count, metavar="N", help="records of a file; 3 without --json")
    show.set_defaults(command=_show)
    report = verbs.add_parser("report", help="write a run's report.html; also while it is going on")
    report.add_argument("run", help="a run's folder")
    report.set_defaults(command=_report)
    prune = verbs.add_parser("prune", help="remove stage folders that no run refers to, and token ids without a file")
    prune.add_argument("run", nargs="?", default="runs", help="a run's folder, or the folder of all runs")
    prune.add_argument("--dry-run", action="store_true", help="only say what would go")
    prune.set_defaults(command=_prune)
    doctor = verbs.add_parser("doctor", help="what this machine offers, and the cure for what lacks")
    doctor.set_defaults(command=_doctor)
    return top


def _recipe(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("recipe")
    verb.add_argument(
        "overrides", nargs="*", default=[], metavar="key=value", help="such as stages.sft.args.learning_rate=1e-4"
    )


def _run(arguments: argparse.Namespace) -> int:
    from .recipe import Recipe, launch
    from .recipe.summary import summary
    from .show import show_scores

    recipe = Recipe.load(arguments.recipe, arguments.overrides)
    leads = launch.rank() == 0 and not launch.is_spawned()
    folder = Path("runs") / (arguments.run or recipe.name)
    with _reported(folder) if leads else contextlib.nullcontext():
        recipe.run(
            only=arguments.only,
            start=arguments.start,
            force=arguments.force,
            name=arguments.run,
            on_stage=_write_report if leads else None,
        )
    if leads:
        show_scores(summary(folder))
    return 0


@contextlib.contextmanager
def _reported(folder: Path) -> Iterator[None]:
    """Write the run's page every minute, since a stage may take hours, and once when nobody holds the run any more."""
    over = threading.Event()

    def write() -> None:
        while not over.wait(REPORT_SECONDS):
            _write_report(folder)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        yield
    finally:
        over.set()
        writer.join()
        _write_report(folder)


def _write_report(folder: Path) -> None:
    from .report import write_report

    try:
        if (folder / "run.json").is_file():
            with _WRITING:
                write_report(folder)
    except AlignError as error:
        # the page can be written again at any time; the run's own work goes on
        print(f"align: warning: no report: {error}", file=sys.stderr)


def _report(arguments: argparse.Namespace) -> int:
    from .report import write_report

    print(write_report(Path(arguments.run)))
    return 0


def _plan(arguments: argparse.Namespace) -> int:
    from .recipe import Recipe, cards
    from .recipe.estimate import estimate
    from .recipe.plan import plan
    from .recipe.workspace import Workspace
    from .show import show_estimates, show_plan

    recipe = Recipe.load(arguments.recipe, arguments.overrides)
    card = cards.card(arguments.card) if arguments.card else cards.detected()
    workspace = Workspace(Path("runs").resolve(), arguments.run or recipe.name)
    steps = plan(recipe, workspace)
    took = {step.stage.name: workspace.last(step.stage.name) for step in steps}
    show_plan(steps, {name: manifest.data["seconds"] for name, manifest in took.items() if manifest})
    show_estimates(estimate(recipe, steps), recipe.models)
    _show_needs(recipe, card, arguments.tokens_per_second)
    return 0


def _show_needs(recipe: "Recipe", card: "Card | None", tokens_per_second: int | None) -> None:
    from .recipe import devices
    from .show import show_memory, show_sampling

    found, left = devices.needs(recipe, gpu=card is not None)
    show_memory(found, card, tokens_per_second)
    for line in left:
        print(line)
    show_sampling(devices.sampling(recipe))


def _check(arguments: argparse.Namespace) -> int:
    from .recipe import Recipe
    from .recipe.plan import not_run_here

    recipe = Recipe.load(arguments.recipe, arguments.overrides)
    for note in [*recipe.notes(), *not_run_here(recipe)]:
        print(f"note: {note}")
    print(f"{arguments.recipe}: {len(recipe.stages)} stages, no errors")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from .show import show

    show(arguments.path, as_json=arguments.json, limit=arguments.limit)
    return 0


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, found {text!r}")
    return int(text)


def _prune(arguments: argparse.Namespace) -> int:
    from .recipe.summary import prune

    removed = prune(Path(arguments.run), dry_run=arguments.dry_run)
    for folder, size in removed:
        print(f"{'would remove' if arguments.dry_run else 'removed'} {folder}  {size / 1e6:.1f} MB")
    print(f"{len(removed)} folders, {sum(size for _, size in removed) / 1e6:.1f} MB")
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    from .doctor import report

    for what, finding in report():
        print(f"{what:<14} {finding}")
    return 0
