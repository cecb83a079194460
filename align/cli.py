"""The command line: few verbs, each a thin call into the library. Loads no torch by itself."""

import argparse
import errno
import sys
from collections.abc import Sequence
from pathlib import Path

from .errors import AlignError

MISTAKE, INTERRUPTED = 2, 130
FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    arguments = parse(argv)
    try:
        return int(arguments.command(arguments))
    except AlignError as error:
        print(f"align: {error}", file=sys.stderr)
        return MISTAKE
    except KeyboardInterrupt:
        print("align: stopped; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # the reader of our output has gone: nothing is left to say
        sys.stdout = open("/dev/null", "w")  # noqa: SIM115 - keeps the interpreter's last flush quiet
        return 0
    except OSError as error:
        if error.errno in FULL:
            print(
                f"align: {error.filename or 'writing'}: {FULL[error.errno]}: nothing finished is lost", file=sys.stderr
            )
            return MISTAKE
        raise


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line's arguments; `key=value` may stand before or after the options."""
    top = parser()
    arguments, rest = top.parse_known_args(argv)
    if rest and not (hasattr(arguments, "overrides") and all("=" in word and word[0] != "-" for word in rest)):
        top.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        arguments.overrides = [*arguments.overrides, *rest]
    return arguments


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    from .score.command import configure

    top = argparse.ArgumentParser(prog="align", description="Preference alignment of code models.")
    verbs = top.add_subparsers(required=True, metavar="COMMAND")
    run = verbs.add_parser("run", help="run a recipe: what is done is skipped, what was interrupted goes on")
    _recipe(run)
    run.add_argument("--only", action="append", default=[], metavar="STAGE", help="run this stage alone (repeatable)")
    run.add_argument("--from", dest="start", metavar="STAGE", help="begin at this stage")
    run.add_argument("--force", action="append", default=[], metavar="STAGE", help="run again though it is done")
    run.add_argument("--run", metavar="NAME", help="name of the run below runs/")
    run.set_defaults(command=_run)
    plan = verbs.add_parser("plan", help="what would run, and why")
    _recipe(plan)
    plan.add_argument("--run", metavar="NAME", help="name of the run below runs/")
    plan.set_defaults(command=_plan)
    check = verbs.add_parser("check", help="verify a recipe; run nothing")
    _recipe(check)
    check.set_defaults(command=_check)
    score = verbs.add_parser("score", help="run samples on their problems' tests: pass@k and outcomes")
    configure(score)
    show = verbs.add_parser("show", help="show a run, a file of records, a stage kind, or the recipes' JSON Schema")
    show.add_argument("path")
    show.add_argument("--json", action="store_true", help="as JSON")
    show.set_defaults(command=_show)
    report = verbs.add_parser("report", help="write a run's report.html; also while it is going on")
    report.add_argument("run", help="a run's folder")
    report.set_defaults(command=_report)
    prune = verbs.add_parser("prune", help="remove stage folders that no run refers to")
    prune.add_argument("run", nargs="?", default="runs", help="a run's folder, or the folder of all runs")
    prune.add_argument("--dry-run", action="store_true", help="only say what would go")
    prune.set_defaults(command=_prune)
    doctor = verbs.add_parser("doctor", help="what this machine offers, and the cure for what lacks")
    doctor.set_defaults(command=_doctor)
    return top


def _recipe(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("recipe")
    verb.add_argument("overrides", nargs="*", metavar="key=value", help="such as stages.sft.args.learning_rate=1e-4")


def _run(arguments: argparse.Namespace) -> int:
    from .recipe import Recipe, launch
    from .recipe.summary import summary
    from .show import show_scores

    recipe = Recipe.load(arguments.recipe, arguments.overrides)
    leads = launch.rank() == 0 and not launch.is_spawned()
    folder = Path("runs") / (arguments.run or recipe.name)
    try:
        recipe.run(
            only=arguments.only,
            start=arguments.start,
            force=arguments.force,
            name=arguments.run,
            on_stage=_write_report if leads else None,
        )
    finally:
        if leads:
            # once more, now that nobody holds the run: the page says how it ended
            _write_report(folder)
    if leads:
        found = summary(folder)
        if found["models"]:
            show_scores(found)
    return 0


def _write_report(folder: Path) -> None:
    from .report import write_report

    try:
        if (folder / "run.json").is_file():
            write_report(folder)
    except AlignError as error:
        # the page can be written again at any time; the run's own work goes on
        print(f"align: warning: no report: {error}", file=sys.stderr)


def _report(arguments: argparse.Namespace) -> int:
    from .report import write_report

    print(write_report(Path(arguments.run)))
    return 0


def _plan(arguments: argparse.Namespace) -> int:
    from .recipe import Recipe
    from .recipe.plan import plan
    from .recipe.workspace import Workspace
    from .show import show_plan

    recipe = Recipe.load(arguments.recipe, arguments.overrides)
    workspace = Workspace(Path("runs").resolve(), arguments.run or recipe.name)
    steps = plan(recipe, workspace)
    took = {step.stage.name: workspace.last(step.stage.name) for step in steps}
    show_plan(steps, {name: manifest.data["seconds"] for name, manifest in took.items() if manifest})
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from .recipe import Recipe

    recipe = Recipe.load(arguments.recipe, arguments.overrides)
    for note in recipe.notes():
        print(f"note: {note}")
    print(f"{arguments.recipe}: {len(recipe.stages)} stages, no errors")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from .show import show

    show(arguments.path, as_json=arguments.json)
    return 0


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
