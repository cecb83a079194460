"""Whether a text asks for one function, and whether it holds the answer. Judged by wording: nothing is run.

A text is refused for what it asks to be built instead (a program that talks to its user, a window, a web site, a
game, a query), or where nothing in it speaks of a programming task. English is read best; of other languages the
words for function, code and program are known.
"""

import ast
import re

from ..execute.definitions import parsed

_BUILD = r"(?:create|build|develop|design|implement|write|make|set ?up|deploy|train)"
_SOME = r"(?:\w+\s+)?(?:a|an|the|some|my|your)?\s*(?:[\w.+#-]+[ ,]+){0,3}?"
_OTHERS = {
    "a program that reads input": (
        r"\b(?:from|via|through|on) (?:the )?(?:stdin|standard input|keyboard|console|command[- ]line|terminal)\b"
        r"|\b(?:prompts?|asks?|asking|prompting) (?:the |a )?users? (?:to|for)\b"
        r"|\buser(?:'s)? (?:enters|inputs|types)\b|\binput\(\)|\bsys\.stdin\b"
        r"|\btakes? (?:an? |the )?(?:user input|input from (?:the |a )?user)"
        r"|\breads? (?:an? |the |in )?(?:\w+ )?(?:input )?from (?:the |a )?(?:user|console|keyboard)"
    ),
    "a program that prints": (
        r"\bprints? (?:\w+ ){0,4}?(?:to|on) (?:the )?(?:stdout|standard output|console|screen|terminal)\b"
        r"|^(?:print|display) (?:the )?[\"'“‘]?hello,? world"
    ),
    "a user interface": (
        rf"\b{_BUILD}\s+{_SOME}(?:gui|graphical (?:user )?interface|user interface|window|dialog|button|form|menu"
        r"|calculator app|dashboard|animation|macro|spreadsheet)\b|\b(?:tkinter|pyqt5?|pygame|wxpython|kivy)\b"
        r"|\bgraphical user interface\b"
    ),
    "a web site or service": (
        rf"\b{_BUILD}\s+{_SOME}(?:web ?(?:app(?:lication)?|site|page|server|service|scraper)|website|rest(?:ful)? api"
        r"|api|http server|endpoints?|login page|landing page|html (?:page|form|code|document|table)|css|chat ?bot"
        r"|discord bot|telegram bot|bot|micro-?service|crud)\b|\b(?:flask|django|fastapi|react(?:\.js|js)?|angular"
        r"|express\.js)\b (?:app|application|project|server|library|component|website|framework)"
    ),
    "an application": (
        rf"\b{_BUILD}\s+{_SOME}(?:app|application|software|game|command[- ]line (?:tool|program|interface|application)"
        r"|cli(?: tool)?|library|package|framework|plugin|extension|database|schema|operating system)\b"
    ),
    "classes": (
        rf"\b{_BUILD}\s+(?:a|an|the|two|three|several)\s+(?:[\w-]+\s+){{0,3}}?(?:class(?:es)?|subclass(?:es)?"
        r"|class hierarchy|interface)\b(?! (?:of|method|label))|\bclass hierarchy\b|\binherits? from\b"
        r"|\bsubclass(?:es)? of\b"
    ),
    "a query or a script of another kind": (
        r"\bsql (?:query|statement)\b|\bregular expression only\b|\b(?:bash|shell|powershell|batch) script\b"
        r"|\bdocker-?(?:file|compose)\b|\bmakefile\b|\bexcel (?:formula|macro)\b"
    ),
    "a model": (
        rf"\b{_BUILD}\s+{_SOME}(?:neural network|machine learning model|deep learning model|classifier|cnn|rnn"
        r"|regression model)\b"
    ),
    "an explanation": (
        r"\A\W*(?:explain|describe|discuss|summari[sz]e|what (?:is|are|does)|why|who|when did|compare and contrast"
        r"|list the (?:advantages|differences|benefits))\b(?!.*\b(?:function|def|return)\b)"
    ),
}
_OTHER = {what: re.compile(pattern, re.IGNORECASE | re.DOTALL | re.M) for what, pattern in _OTHERS.items()}
_OTHER["an explanation"] = re.compile(_OTHERS["an explanation"], re.IGNORECASE | re.DOTALL)
_TASK = re.compile(
    r"\b(?:functions?|methods?|subroutine|def|lambda|returns?|returning|algorithms?|code|python|programs?|arrays?|lists?|tuples?|"
    r"dict(?:ionary|ionaries)?|strings?|integers?|numbers?|matrix|matrices|sequence|sort(?:s|ed|ing)?|regex|"
    r"implement|compute|calculate|parameters?|arguments?|función|funciones|código|fonction|funktion|funzione|"
    r"função|функци\w*|программ\w*|код)\b|関数|函数|コード|代码|代碼|程序|プログラム|함수|코드|\w\(\w*\)"
    r"|\byour task is to\b"
    r"|\b(?:determine|check|find|count|convert|figure) (?:out )?(?:if|whether|how many|the number of"
    r"|the \w+ (?:of|and|that)|all|an? \w+ to)\b",
    re.IGNORECASE,
)
_FENCED = re.compile(r"^[ \t]*```[^\n`]*\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE)
_SOLUTION = re.compile(
    r"(?im)^[^\w\n]*(?:here(?:'s| is) (?:the|a|my|one) (?:possible |python )?solution|solution|answer"
    r"|sample solution|解答例?|解答|回答|答案|lösung|solución|réponse|solução)[^\w\n:]*:"
)


def other_task(text: str) -> str | None:
    """What the text asks for in the place of a function, with its wording; None where it may ask for one."""
    for what, pattern in _OTHER.items():
        if match := pattern.search(text):
            return f"{what}: {' '.join(match[0].split())[:80]}"
    return None if _TASK.search(text) else "nothing in it speaks of a programming task"


def solution(text: str, parent: str) -> str | None:
    """Where the text begins to answer the problem, which its parent did not; None where it does not."""
    if (heading := _SOLUTION.search(text)) and not _SOLUTION.search(parent):
        return heading[0].strip()
    given = {name for block in _sources(parent) for name in _bodies(block)}
    if given:
        # a problem about code may show it
        return None
    return next((f"def {name}" for block in _sources(text) for name in _bodies(block)), None)


def _sources(text: str) -> list[str]:
    return [*_FENCED.findall(text), text]


def _bodies(source: str) -> list[str]:
    """The last function, where it does something: a docstring, imports, `pass` or `raise` are a stub's; helpers that
    stand before a stub are part of the problem."""
    if "def " not in source:
        return []
    tree = parsed(source)
    body = tree.body if tree else []
    functions = [node for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [node.name for node in functions[-1:] if any(not _is_stub(statement) for statement in node.body)]


def _is_stub(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant)
    return isinstance(statement, ast.Pass | ast.Raise | ast.Import | ast.ImportFrom)
