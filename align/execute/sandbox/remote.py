"""Call a program in another process: both ends of an interactive run.

The tester holds a `Remote`, the candidate runs `serve`; between them goes one line of the codec a message. Callables
that the tester passes as arguments are called back; objects of the program stay with it and travel as tokens. Believes
nothing the candidate sends: whatever is not the answer to the question asked ends the conversation. Does not limit
time (the zygote does) and does not judge.
"""

from collections.abc import Callable
from typing import Any, NoReturn

from .codec import CodecError, Opaque, describe_error, dumps, loads, rebuild_error
from .keeper import Keeper, Token
from .line import Gone, Line, Protocol

__all__ = ["Gone", "Inexpressible", "Line", "Protocol", "Remote", "Server", "from_program", "resolve", "serve"]

Space = dict[str, Any]

MAX_NESTING = 50
"""Callbacks within callbacks."""


class Inexpressible(BaseException):
    """A test hands the program something that cannot travel."""


def from_program(error: BaseException) -> bool:
    """Whether the program raised it, rather than the tests."""
    return getattr(error, "_from_program", False) is True


class _Callbacks:
    """Functions that were given away, by number. They are kept alive: a number never means another function."""

    def __init__(self) -> None:
        self.given: list[Any] = []
        self._numbers: dict[int, int] = {}

    def number(self, function: object) -> int:
        if id(function) not in self._numbers:
            self._numbers[id(function)] = len(self.given)
            self.given.append(function)
        return self._numbers[id(function)]


class Remote:
    """The tester's end: ask the program to do something, get the value or the exception.

    Args:
        line: where the candidate is.
        known: exception classes of the tests, by the name they have in the program.
        adopt: makes something of the token of an object that stays with the program; without it, or where it returns
            None, that object is an `Opaque`.
        refer: makes the token of an object that `adopt` made, None for any other object.
    """

    def __init__(
        self,
        line: Line,
        known: dict[str, type[BaseException]] | None = None,
        adopt: Callable[[Token], object] | None = None,
        refer: Callable[[object], Token | None] | None = None,
    ) -> None:
        self.line = line
        self.known = dict(known or {})
        self.adopt = adopt
        self.refer = refer
        self.lost: str | None = None
        """Why the conversation has ended."""
        self._callbacks = _Callbacks()
        self._nesting = 0
        self._asking = 0

    def call(self, name: str, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        """What the program's function `name` returns.

        Raises:
            Exception: what it raised, marked so that `from_program` knows it.
            Gone: the program has ended, or has broken the protocol; every later call raises it too.
            Inexpressible: an argument cannot travel.
        """
        return self.ask("call", name, list(args), kwargs or {})

    def get(self, name: str) -> Any:
        """A copy of the program's constant `name`. Raises as `call`."""
        return self.ask("get", name)

    def ask(self, *request: Any) -> Any:
        """Send any request that `serve` understands and wait for its answer. Raises as `call`."""
        if self.lost is not None:
            raise Gone(self.lost)
        try:
            data = dumps(list(request), self._refer)
        except CodecError as error:
            raise Inexpressible(f"a value of the tests cannot be sent: {error}") from None
        self._asking += 1
        try:
            return self._exchange(data)
        except Gone as gone:
            self.lost = self.lost or str(gone)
            raise
        finally:
            self._asking -= 1

    def _exchange(self, data: bytes) -> Any:
        # an answer may hold objects in a set, whose hashes are asked for while it is read
        if self._asking > 2 * MAX_NESTING:
            raise Protocol(f"questions are nested deeper than {2 * MAX_NESTING}")
        self.line.send(data)
        return self._answer()

    def _answer(self) -> Any:
        while True:
            answer = self._receive()
            # an array in the first place would make the comparisons below raise
            if type(answer) is not list or not answer or type(answer[0]) is not str:
                raise Protocol("this is no answer")
            match answer:
                case ["value", value]:
                    return value
                case ["error", list() as described]:
                    self._raise(described)
                case ["callback", int() as number, list() as args, dict() as kwargs]:
                    self._run(number, args, kwargs)
                case _:
                    raise Protocol("this is no answer")

    def _receive(self) -> Any:
        line = self.line.receive()
        try:
            return loads(line, self._resolve)
        except CodecError as error:
            raise Protocol(f"an answer cannot be read: {error}") from None

    def _raise(self, described: list[Any]) -> NoReturn:
        try:
            error = rebuild_error(described, self.known)
        except CodecError as fault:
            raise Protocol(f"an error cannot be read: {fault}") from None
        error._from_program = True  # type: ignore[attr-defined]
        raise error

    def _run(self, number: int, args: list[Any], kwargs: dict[Any, Any]) -> None:
        """Run a callable of the tests for the program, and send what comes of it."""
        if self._nesting >= MAX_NESTING:
            raise Protocol(f"callbacks are nested deeper than {MAX_NESTING}")
        function = self._function(number)
        self._nesting += 1
        try:
            reply = self._outcome(function, args, kwargs)
        except BaseException:
            self.lost = self.lost or "a callback was broken off"
            raise
        finally:
            self._nesting -= 1
        self.line.send(reply)

    def _outcome(self, function: Callable[..., Any], args: list[Any], kwargs: dict[Any, Any]) -> bytes:
        try:
            return dumps(["value", function(*args, **kwargs)], self._refer)
        except Exception as error:
            self.known.setdefault(type(error).__name__, type(error))
            return dumps(["error", describe_error(error)])

    def _function(self, number: int) -> Any:
        if not 0 <= number < len(self._callbacks.given):
            raise Protocol("it calls a function that it was never given")
        return self._callbacks.given[number]

    def _refer(self, value: object) -> Token | None:
        token = self.refer(value) if self.refer is not None else None
        if token is not None:
            return token
        if isinstance(value, Opaque):
            return None
        if callable(value) and not type(value).__module__.startswith("unittest"):
            return ["callback", self._callbacks.number(value)]
        raise Inexpressible(f"the tests pass the program an object of {type(value).__name__}")

    def _resolve(self, token: Any) -> object:
        match token:
            case ["callback", int() as number]:
                return self._function(number)
            case [str(), *_] if self.adopt is not None and (adopted := self.adopt(token)) is not None:
                return adopted
        return Opaque("object")


def resolve(space: Space, name: str) -> Any:
    """What a program calls `name`: its own global name, else a method of its class Solution.

    Raises:
        NameError: it has neither.
    """
    if name in space:
        return space[name]
    solution = space.get("Solution")
    if isinstance(solution, type) and hasattr(solution, name):
        return getattr(solution(), name)
    raise NameError(f"name {name!r} is not defined", name=name)


def serve(line: Line, space: Space) -> None:
    """The candidate's end: answer requests until nobody asks any more.

    Args:
        line: where the tester is.
        space: the globals of the program that was run.
    """
    server = Server(line, space)
    try:
        while True:
            server.answer(loads(line.receive(), server.resolve))
    except Gone:
        return


class Server:
    """Answers for one program. Nothing here is trusted by anyone: the program may change all of it."""

    def __init__(self, line: Line, space: Space) -> None:
        self.line = line
        self.space = space
        self.keeper = Keeper(space)
        self._borrowed: dict[int, Any] = {}
        self._numbers: dict[int, int] = {}

    def answer(self, request: list[Any]) -> None:
        """Do what one request asks and send what comes of it."""
        try:
            reply = dumps(["value", self.perform(request)], self.refer)
        except Gone:
            raise
        except CodecError:
            # a value beyond the codec's caps equals nothing
            reply = dumps(["value", Opaque("oversized")])
        except BaseException as error:
            reply = dumps(["error", describe_error(error)])
        self.line.send(reply)

    def perform(self, request: list[Any]) -> Any:
        match request:
            case ["call", name, args, kwargs]:
                return self.keeper.present(resolve(self.space, name)(*args, **kwargs))
            case ["get", name]:
                return self.keeper.present(resolve(self.space, name))
            case ["operate", operation, args, kwargs]:
                return self.keeper.present(self.keeper.operate(operation, args, kwargs))
            case ["exports", names]:
                return self.keeper.exports(names)
        raise Protocol("this is no request")

    def refer(self, value: object) -> Token | None:
        number = self._numbers.get(id(value))
        return self.keeper.refer(value) if number is None else ["callback", number]

    def resolve(self, token: Any) -> object:
        match token:
            case ["callback", number]:
                return self._borrow(number)
        return self.keeper.find(token)

    def _borrow(self, number: int) -> Any:
        """A function of the tester's as one of this process."""
        if number not in self._borrowed:
            self._borrowed[number] = function = lambda *args, **kwargs: self._call_back(number, args, kwargs)
            self._numbers[id(function)] = number
        return self._borrowed[number]

    def _call_back(self, number: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.line.send(dumps(["callback", number, list(args), kwargs], self.refer))
        while True:
            match loads(self.line.receive(), self.resolve):
                case ["value", value]:
                    return value
                case ["error", described]:
                    raise rebuild_error(described, self._errors())
                case request:
                    self.answer(request)

    def _errors(self) -> dict[str, type[BaseException]]:
        """The program's own exceptions, which a callback may raise through the tests' stand-ins."""
        return {
            name: value
            for name, value in self.space.items()
            if isinstance(value, type) and issubclass(value, BaseException)
        }
