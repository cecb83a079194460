"""Judge a candidate by inputs and outputs: function calls with expected values, and programs by what they print.

Values are compared here, outside of the candidate; see `compare`.
"""

from typing import Any

from . import codec, compare
from .candidate import source_file
from .desk import Desk, Run, Unusable, answered, unloaded
from .memory import file_of
from .tally import FAILED, HELD, Tally


class Calls:
    """Calls of one function with their expected values, given or computed by the reference.

    Raises:
        Unusable: a case is malformed, or the reference does not give its value.
    """

    def __init__(self, job: dict[str, Any], desk: Desk) -> None:
        self._desk = desk
        self._compare, self._atol = job["compare"], job["atol"]
        cases = [_case(text) for text in job["tests"]]
        if not cases:
            raise Unusable("no tests")
        self._inputs = [case["input"] for case in cases]
        self._calls = [codec.dumps([job["entry_point"], tuple(given), {}]) for given in self._inputs]
        self._lines = [f"{job['entry_point']}{repr(tuple(given))[:200]}" for given in self._inputs]
        self._expected: list[Any] = []
        if any("output" not in case for case in cases):
            self._reference = job["reference"]
        else:
            self._reference = None
            self._expected = [case["output"] for case in cases]

    def judge(self) -> dict[str, Any]:
        """The facts about the present candidate."""
        if not self._expected:
            self._expected = self._by_reference()
        run = self._desk.batch(self._calls)
        if run.load != "loaded":
            return unloaded(run, len(self._calls), self._desk.stderr())
        tally = Tally(self._lines)
        for index, answer in enumerate(run.answers[: len(self._calls)]):
            self._compared(tally, index, answer)
        tally.ended = len(run.answers) >= len(self._calls)
        facts = {**tally.facts(), "load": run.load, "died": not tally.ended, **run.status}
        return {**facts, "stderr": self._desk.stderr()}

    def _compared(self, tally: Tally, index: int, answer: bytes) -> None:
        try:
            got = answered(answer)
            if compare.same(self._compare, self._inputs[index], self._expected[index], got, self._atol):
                tally.states[index] = HELD
            else:
                tally.failed(index)
        except Exception as error:
            # raised by the program, or by comparing what cannot be compared
            tally.states[index] = FAILED
            tally.note(error)

    def _by_reference(self) -> list[Any]:
        if not self._reference:
            raise Unusable("a case has no output, and there is no reference to give it")
        source = file_of(source_file("", self._reference))
        run = self._desk.batch(self._calls, source)
        if run.load != "loaded" or len(run.answers) < len(self._calls):
            raise Unusable("the reference gives no values")
        try:
            return [answered(answer) for answer in run.answers]
        except Exception as error:
            raise Unusable(f"the reference raised {type(error).__name__}") from None


class Outputs:
    """Programs that read stdin and print: one process an input, compared as a whole.

    Raises:
        Unusable: a case is malformed.
    """

    def __init__(self, job: dict[str, Any], desk: Desk) -> None:
        self._desk, self._tolerance = desk, job["atol"]
        cases = [_case(text) for text in job["tests"]]
        if not cases or not all(isinstance(case.get("output"), str) for case in cases):
            raise Unusable("a case needs `input` and `output` as text")
        self._cases = [(case["input"].encode("utf-8", "surrogatepass"), case["output"]) for case in cases]

    def judge(self) -> dict[str, Any]:
        """The facts about the present candidate; nothing is run after the first timeout."""
        tally = Tally([f"output for input {index}" for index in range(len(self._cases))])
        worst: dict[str, Any] = {}
        died = False
        for index, (given, expected) in enumerate(self._cases):
            run, printed = self._desk.main(given)
            if run.load == "compile_error":
                return unloaded(run, len(self._cases), self._desk.stderr())
            worst = _worse(worst, run.status)
            died |= self._judged(tally, index, run, compare.same_output(expected, printed, self._tolerance))
            if run.status["how"]:
                break
        tally.ended = not worst["how"]
        return {**tally.facts(), "load": "loaded", "died": died, **worst, "stderr": self._desk.stderr()}

    def _judged(self, tally: Tally, index: int, run: Run, right: bool) -> bool:
        """Note one case; whether the program was ended by a signal or by us."""
        broken = _is_broken(run.status)
        if run.error is not None:
            tally.states[index] = FAILED
            tally.note(run.error)
        elif right and not broken:
            tally.states[index] = HELD
        else:
            tally.failed(index)
        return broken


def _is_broken(status: dict[str, Any]) -> bool:
    return bool(status["how"] or status["signal"] or status["exit"] or status["output_limit"])


def _worse(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The longer of two runs' statuses, and the first that did not end well."""
    if not one:
        return other
    bad = one if _is_broken(one) else other
    return {**bad, "cpu": max(one["cpu"], other["cpu"])}


def _case(text: str) -> dict[str, Any]:
    try:
        case = codec.loads(text.encode())
    except (codec.CodecError, UnicodeEncodeError):
        case = None
    if not isinstance(case, dict) or "input" not in case:
        raise Unusable("a case is no JSON object with `input`")
    return case
