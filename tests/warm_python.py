"""Python processes that begin with everything imported: a server forks one for each command.

Importing PyTorch takes seconds, and the documentation has some two hundred commands. A command runs in a process of its
own, with its own arguments, folder, environment and output, as after `python`. What it starts with `sys.executable`
begins warm too, where $WARM_PYTHON names a stand-in.

    python tests/warm_python.py SOCKET KIND    serves until its input ends, and removes the socket's folder

KIND is "product", or "packages" for commands of a changed copy of the product: all but the product is imported.
"""

from __future__ import annotations

import array
import atexit
import functools
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("torch._dynamo", "scipy.spatial", "av", "PIL.Image", "tyro", "safetensors.torch")  # also imported late
PRODUCT = (
    *("engine.api", "demo.commands"),
    *(f"experts.{folder}.training" for folder in ("ex4dgs", "ed3dgs", "stg", "fourdgaussians", "freetime")),
)
COMMANDS = "engine.commands"  # with all its modules
Kind = Literal["product", "packages"]
# The beginning of a stand-in for `python`: what follows may change `arguments`.
STAND_IN = """#!{python} -IS
import os
import sys

arguments = sys.argv[1:]
"""
SERVERS: list[subprocess.Popen[bytes]] = []  # of this process
# The stand-in's end: hands its arguments (`arguments`) to the server at SOCKET, waits, and ends as the command did.
CLIENT = """
import array
import json
import socket

if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-", "-m", "-c")):
    os.execv({python!r}, [{python!r}, *arguments])  # without a program, or with an option of Python's
with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
    connection.connect({socket!r})
    request = json.dumps([arguments, os.getcwd(), dict(os.environ)]).encode()
    descriptors = array.array("i", [0, 1, 2])
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)]
    connection.sendmsg([len(request).to_bytes(8, "big")], ancillary)
    connection.sendall(request)
    answer = connection.recv(1)
sys.exit(answer[0] if answer else 1)
"""


@functools.cache
def warm_socket(kind: Kind) -> str:
    """The socket of this process's server of a kind, which is started by the first call and ends with the process."""
    path = str(Path(tempfile.mkdtemp(prefix="moegs_")) / "python")
    paths = [str(ROOT), str(ROOT / "submodules/diff-gaussian-rasterization")] if kind == "product" else []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    environment["CUDA_VISIBLE_DEVICES"] = ""
    server = subprocess.Popen(
        [sys.executable, __file__, path, kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    assert server.stdout is not None and server.stdout.readline() == b"ready\n"
    SERVERS.append(server)  # so that its input stays open
    return path


def write_stand_in(path: Path, kind: Kind, *, changes: str = "") -> None:
    """Writes a program that stands in for `python`: a server runs its arguments. changes: code that changes them."""
    end = CLIENT.format(python=sys.executable, socket=warm_socket(kind))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(STAND_IN.format(python=sys.executable) + changes + end, encoding="utf-8")
    path.chmod(0o755)


def serve(path: str, kind: Kind) -> None:
    """Imports, says "ready", and answers every connection with a process of its own."""
    for name in PACKAGES if kind == "packages" else (*PACKAGES, *PRODUCT):
        importlib.import_module(name)
    if kind == "product":
        for module in pkgutil.iter_modules(importlib.import_module(COMMANDS).__path__):
            importlib.import_module(f"{COMMANDS}.{module.name}")
    assert threading.active_count() == 1, "a fork takes no other thread along"
    gc.collect()
    gc.freeze()  # else each command, as it ends, would look through all that is imported: a second
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that answer
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen()
        print("ready", flush=True)
        while listener in select.select([listener, sys.stdin], [], [])[0]:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                answer(connection)
            connection.close()
    shutil.rmtree(Path(path).parent)


def answer(connection: socket.socket) -> None:
    """Runs the command that a connection asks for in a child, sends its exit code, and ends the process."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, descriptors = received(connection)
    text = b""
    while len(text) < size:
        text += connection.recv(size - len(text))
    child = os.fork()
    if child == 0:
        connection.close()
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)
        run(*json.loads(text))  # ends the process as the command does
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    connection.sendall(bytes([code if code >= 0 else 128 - code]))
    os._exit(0)


def received(connection: socket.socket) -> tuple[int, list[int]]:
    """The length of the request, and the descriptors of its input, output and errors."""
    length, ancillary, _, _ = connection.recvmsg(8, socket.CMSG_LEN(3 * array.array("i").itemsize))
    descriptors = array.array("i", ancillary[0][2])
    return int.from_bytes(length, "big"), descriptors.tolist()


def run(arguments: list[str], folder: str, environment: Mapping[str, str]) -> None:
    """Does what `python ARGUMENTS` does, in this process, and ends it."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.executable = environment.get("WARM_PYTHON", sys.executable)
    paths = environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[1:1] = [path for path in paths if path and path not in sys.path]
    try:
        first, *rest = arguments
        if first == "-":
            sys.argv, sys.path[0] = arguments, ""
            run_text(sys.stdin.read())
        elif first in ("-m", "-c"):
            sys.argv, sys.path[0] = [first, *rest[1:]], ""
            if first == "-m":
                runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
            else:
                run_text(rest[0])
        else:
            sys.argv, sys.path[0] = arguments, str(Path(first).resolve().parent)
            runpy.run_path(first, run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        leave(end.code if isinstance(end.code, int) else int(end.code is not None))
    except BaseException:
        traceback.print_exc()
        leave(1)
    leave(0)


def leave(code: int) -> None:
    """Ends the process as the interpreter does, but does not take all that is imported apart: 0.3 s."""
    threading._shutdown()  # waits for threads
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run_text(text: str) -> None:
    """Runs a program that is given as text, as the module __main__."""
    main: Any = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    exec(compile(text, "<string>", "exec"), main.__dict__)


if __name__ == "__main__":
    serve(sys.argv[1], "product" if sys.argv[2] == "product" else "packages")
