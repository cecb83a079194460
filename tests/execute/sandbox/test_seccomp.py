"""The system calls that programs may make, at every level that has a filter; and the filter for either machine."""

import platform

import pytest

from align.execute.isolation import probe
from align.execute.sandbox import seccomp

LIBC = "import ctypes, os; c = ctypes.CDLL(None, use_errno=True); "
"""For calls that Python has no function for."""


@pytest.fixture(params=["A", "B"])
def level(request):
    if reason := probe(request.param):
        pytest.skip(reason)
    return request.param


REFUSED = {
    "fork": "import os; os.fork()",
    "posix_spawn": "import os; os.posix_spawn('/bin/true', ['true'], {})",
    "subprocess": "import subprocess; subprocess.run(['/bin/true'])",
    "execve": "import os; os.execv('/bin/true', ['true'])",
    "an internet socket": "import socket; socket.socket()",
    "a unix socket": "import socket; socket.socket(socket.AF_UNIX)",
    "a netlink pair": "import socket; socket.socketpair(socket.AF_INET)",
    "a datagram with an address": "import socket as s; s.socketpair(s.AF_UNIX, s.SOCK_DGRAM)[0].sendto(b'x', '/x')",
    "passing descriptors": "import socket as s; s.send_fds(s.socketpair()[0], [b'x'], [0])",
    "signal the parent": "import os; os.kill(os.getppid() or 2, 0)",
    "signal everybody": "import os; os.kill(-1, 0)",
    "signal the group": "import os; os.killpg(0, 0)",
    "a memory file": "import os; os.memfd_create('x')",
    "priority": "import os; os.setpriority(os.PRIO_PROCESS, 0, 5)",
    "niceness": "import os; os.nice(1)",
    "affinity": "import os; os.sched_setaffinity(0, [0])",
    "limits of another": "import os, resource as r; r.prlimit(os.getppid() or 2, r.RLIMIT_NOFILE)",
    "chroot": "import os; os.chroot('/')",
    "owner of a descriptor's signals": "import fcntl, os; fcntl.fcntl(0, fcntl.F_SETOWN, os.getppid() or 2)",
    "a pidfd": "import os; os.pidfd_open(os.getpid())",
    "root": "import os; os.setuid(0)",
}


def test_what_reaches_others_is_refused(jailed, level):
    answers = jailed(level, *REFUSED.values())
    allowed = {
        what: got for what, got in zip(REFUSED, answers, strict=True) if got not in ("PermissionError", "OSError")
    }
    assert allowed == {}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers of x86-64")
def test_kernel_surface_is_refused(jailed, level):
    numbers = {"ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "io_uring_setup": 425, "keyctl": 250,
               "bpf": 321, "mount": 165, "setns": 308, "unshare": 272, "userfaultfd": 323, "perf_event_open": 298,
               "shmget": 29, "semget": 64, "msgget": 68, "mq_open": 240, "seccomp": 317, "open_by_handle_at": 304,
               "pidfd_send_signal": 424, "pidfd_getfd": 438, "tkill": 200, "rt_sigqueueinfo": 129, "personality": 135,
               "openat2": 437, "fsopen": 430, "a number of tomorrow": 999}  # fmt: skip
    calls = [f"{LIBC} r = c.syscall({n}, 0, 0, 0, 0, 0, 0); result = r, ctypes.get_errno()" for n in numbers.values()]
    answers = dict(zip(numbers, jailed(level, *calls), strict=True))
    assert {name: answer for name, answer in answers.items() if answer != "(-1, 1)"} == {}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="a call of x32")
def test_another_instruction_sets_calls_kill(jailed, level):
    assert jailed(level, f"{LIBC} c.syscall(0x40000000 + 39)") == [-31]


WORKS = {
    "threads": "import threading as t; s = [t.Thread(target=list) for _ in range(9)]; "
    "[x.start() for x in s]; [x.join() for x in s]",
    "asyncio": "import asyncio; asyncio.run(asyncio.sleep(0.001))",
    "an executor": "from concurrent.futures import ThreadPoolExecutor as P; list(P(2).map(abs, range(9)))",
    "decimal, hashlib, random": "import decimal, hashlib, random, secrets; decimal.Decimal(2).sqrt(); "
    "hashlib.sha256(b'x').digest(); secrets.token_bytes(8)",
    "time": "import time; time.sleep(0.001); time.strftime('%c'); time.process_time()",
    "timers": "import signal as s, time; s.signal(s.SIGALRM, lambda *_: None); s.setitimer(s.ITIMER_REAL, 0.001); "
    "time.sleep(0.01)",
    "pipes and select": "import os, select; r, w = os.pipe(); os.write(w, b'x'); select.select([r], [], [], 1); "
    "p = select.poll(); p.register(r); p.poll(1); e = select.epoll(); e.register(r); e.poll(0.1)",
    "mmap": "import mmap; mmap.mmap(-1, 8192).write(b'x')",
    "ctypes callbacks": "import ctypes as c; c.CFUNCTYPE(c.c_int)(lambda: 1)()",
    "listing the library": "import os; os.listdir(os.path.dirname(os.__file__))",
    "lazy imports": "import sqlite3, zoneinfo, xml.dom.minidom, unittest, csv, uuid, lzma, bz2",
    "devnull": "open('/dev/null', 'w').write('x'); open('/dev/urandom', 'rb').read(1)",
    "signals to oneself": "import os, signal; signal.signal(15, lambda *_: None); os.kill(os.getpid(), 15); "
    "signal.raise_signal(15)",
    "limits read": "import resource as r; r.getrlimit(r.RLIMIT_AS); r.getrusage(r.RUSAGE_SELF); "
    "r.setrlimit(r.RLIMIT_NOFILE, (20, 20))",
    "who am I": "import os, platform; os.cpu_count(); os.getlogin if 0 else os.getpgid(0); platform.machine()",
    "capturing stdout": "import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()): print(1)",
}


def test_honest_programs_work(jailed, level):
    answers = jailed(level, *WORKS.values())
    assert {what: got for what, got in zip(WORKS, answers, strict=True) if got != "None"} == {}


def test_files_in_the_box_work_at_level_a(jailed):
    if reason := probe("A"):
        pytest.skip(reason)
    code = """
import os, shutil, tempfile, pathlib
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, "a"); path.write_text("x"); path.chmod(0o644); os.utime(path)
    shutil.copy2(path, pathlib.Path(folder, "b")); os.rename(path, path.with_suffix(".c"))
    os.symlink("b", folder + "/l")
    os.link(folder + "/b", folder + "/e"); os.truncate(folder + "/e", 0)
    shutil.copytree(folder, folder + "2"); shutil.rmtree(folder + "2")
"""
    assert jailed("A", code) == ["None"]


def test_testers_may_also_pass_memory_files(jailed, level):
    code = (
        "import os, socket as s; a, b = s.socketpair(); s.send_fds(a, [b'x'], [os.memfd_create('m')]); "
        "result = s.recv_fds(b, 9, 1)[0]"
    )
    assert jailed(level, code, role="tester") == ["b'x'"]


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("part", ["zygote", "candidate", "tester"])
def test_every_jump_stays_inside_the_filter_and_every_path_ends(machine, part):
    code = seccomp.build(part, namespaced=False, may_truncate=False, machine=machine)
    assert len(code) <= 4096
    for index, (kind, if_true, if_false, _) in enumerate(code):
        if kind & 7 == 5:
            assert index + 1 + max(if_true, if_false) < len(code)
    assert code[-1][0] == 0x06


@pytest.mark.parametrize("namespaced", [True, False])
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_says_of_every_number_what_the_tables_say(machine, namespaced):
    numbers = {"x86_64": seccomp.X86_64, "aarch64": seccomp.AARCH64}[machine]
    names = {number: name for name, number in numbers.items()}
    inherited, own = (
        seccomp.build(part, namespaced=namespaced, may_truncate=True, machine=machine)
        for part in ("zygote", "candidate")
    )
    for number in range(600):
        answers = follow(inherited, machine, number), follow(own, machine, number)
        answer, conditional = min(answers)
        name = names.get(number)
        refused = {*seccomp._TESTER, *seccomp._ZYGOTE, *(() if namespaced else seccomp._PATHS.split())}
        if name is None or name in refused:
            assert (answer, conditional) == (0x0005_0001, False), number
        elif name == "clone3":
            assert answer == 0x0005_0000 | 38
        else:
            assert conditional or answer == 0x7FFF_0000, name


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_a_candidates_own_filter_is_short(machine):
    """Its length is paid for by every program."""
    assert len(seccomp.build("candidate", namespaced=True, may_truncate=True, machine=machine)) < 24


def follow(code, machine, number):
    """The answer to a call whose arguments are all ones, and whether it was looked at them."""
    architecture = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}[machine]
    at, value, looked = 0, 0, False
    while True:
        kind, if_true, if_false, operand = code[at]
        if kind == 0x06:
            return operand, looked
        if kind == 0x20:
            value = {0: number, 4: architecture}.get(operand, 0xFFFF_FFFF)
            looked = looked or operand >= 16
        elif kind == 0x54:
            value &= operand
        else:
            holds = value == operand if kind == 0x15 else value >= operand
            at += if_true if holds else if_false
        at += 1


def test_another_architecture_is_refused_by_name():
    with pytest.raises(seccomp.Unsupported, match="riscv64"):
        seccomp.build("candidate", namespaced=True, may_truncate=True, machine="riscv64")
