"""Three browsers and a hostile one, for minutes: `python -m tests.engine.viewer.soak SAVE_PATH --minutes 10`.

The browsers move, play and change controls. The hostile one sends malformed messages, and leaves in the middle of
pictures. The command fails where the viewer ends, says something on stderr that it should not, stops sending pictures,
or takes more and more memory.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from tests.engine.viewer.browser import Browser

PORT = 8991
MALFORMED = 1000  # messages, at least
STEP = 0.05  # seconds between two deeds of a browser
SETTLED = 0.25  # of the time, after which memory counts: libraries are loaded, and every kind of picture was shown
GROWTH = 64  # MiB that memory may grow by from then on
SILENCE = 20.0  # seconds without a picture for a browser that changes something
VALUES: dict[str, tuple[Any, ...]] = {
    "frame": (0, 1, 2),
    "play": (True, False),
    "speed": ("0.25x", "1x", "4x"),
    "show": ("mixture", "winner", "depth", "error", "recorded"),
    "wipe to": ("off", "mixture", "opacity"),
    "wipe at": (0.2, 0.7),
    "field of view": (30, 60),
    "show cameras": (True, False),
    "show start points": (True, False),
    "temperature": (0.5, 1, 20),
    "Add key camera": (True,),
    "Remove the last": (True,),
    "Camera as JSON": (True,),
    "Screenshot": (True,),
    "Download path": (True,),
    "Download video": (True,),
}


def main(arguments: list[str] | None = None) -> int:
    """Runs the viewer among the browsers; 1 where it did not stand it."""
    parser = argparse.ArgumentParser(prog="python -m tests.engine.viewer.soak", description=main.__doc__)
    parser.add_argument("run", type=Path, metavar="SAVE_PATH", help="folder of a trained run")
    parser.add_argument("--minutes", type=float, default=10.0, help="time (default: 10)")
    given = parser.parse_args(arguments)
    command = [sys.executable, "moegs.py", "view", str(given.run), "--port", str(PORT), "--quiet"]
    errors = tempfile.TemporaryFile("w+")  # noqa: SIM115, closed below; a pipe that nobody reads would stop the viewer
    viewer = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    assert viewer.stdout is not None
    print(viewer.stdout.readline().strip(), flush=True)
    end = time.monotonic() + 60 * given.minutes
    faults: list[str] = []
    pictures = [0, 0, 0]
    threads = [threading.Thread(target=_use, args=(number, end, pictures, faults)) for number in range(len(pictures))]
    sent = [0, 0]
    threads.append(threading.Thread(target=_attack, args=(end, given.minutes, sent, faults)))
    for thread in threads:
        thread.start()
    memory = _watch(viewer, end)
    for thread in threads:
        thread.join()
    viewer.send_signal(2)
    viewer.communicate(timeout=30)
    errors.seek(0)
    said = errors.read()
    errors.close()
    if not memory:
        print(f"the viewer did not start: {said}")
        return 1
    settled = memory[int(SETTLED * len(memory)) :]
    print(f"pictures {pictures}, malformed messages {sent[0]}, connections cut {sent[1]}")
    print(f"memory, MiB: {memory[0]} at first, {settled[0]} settled, {max(settled)} at most, {memory[-1]} in the end")
    if viewer.returncode != 0 or "Traceback" in said:
        faults.append(f"the viewer ended with {viewer.returncode} and said {said[-2000:]!r}")
    if max(settled) > settled[0] + GROWTH:
        faults.append(f"memory grew from {settled[0]} to {max(settled)} MiB")
    if sent[0] < MALFORMED:
        faults.append(f"only {sent[0]} malformed messages were sent")
    print(*(faults or ["no fault"]), sep="\n")
    return 1 if faults else 0


def _watch(viewer: subprocess.Popen[str], end: float) -> list[int]:
    """The viewer's memory in MiB, once a second as long as it runs."""
    memory = []
    while time.monotonic() < end and viewer.poll() is None:
        status = Path(f"/proc/{viewer.pid}/status").read_text()
        memory.append(int(status.split("VmRSS:")[1].split()[0]) // 1024)
        time.sleep(1)
    return memory


def _use(number: int, end: float, pictures: list[int], faults: list[str]) -> None:
    """A browser that somebody uses."""
    chance = random.Random(number)
    try:
        browser = Browser(PORT, size=(160, 120))
        browser.wait(lambda one: one.image is not None)
        seen = time.monotonic()
        while time.monotonic() < end:
            browser.kinds.clear()
            browser.file = b""
            if chance.random() < 0.5:
                browser.move(position=[chance.uniform(-0.5, 0.5), chance.uniform(-0.5, 0.5), chance.uniform(-1, 0)])
            else:
                label = chance.choice(list(VALUES))
                browser.set(label, chance.choice(VALUES[label]))
            browser.listen(STEP)
            count = browser.kinds.count("BackgroundImageMessage")
            pictures[number] += count
            seen = time.monotonic() if count else seen
            if time.monotonic() - seen > SILENCE:
                raise TimeoutError(f"no picture for {SILENCE:.0f} s; the viewer says {browser.text!r}")
        browser.close()
    except Exception as error:
        faults.append(f"browser {number}: {type(error).__name__}: {error}")


def _attack(end: float, minutes: float, sent: list[int], faults: list[str]) -> None:
    """A browser that sends nonsense and cuts the line, again and again. sent: messages and cut lines."""
    chance = random.Random(99)
    pause = 60 * minutes / MALFORMED * 4
    while time.monotonic() < end:
        try:
            strange = Browser(PORT)
            strange.wait(lambda one: one.image is not None or one.controls != {})
        except Exception as error:
            faults.append(f"no new browser could connect: {type(error).__name__}: {error}")
            return
        with contextlib.suppress(Exception):  # the viewer may end the connection at any of them
            for _ in range(8):
                _send_nonsense(strange, chance)
                sent[0] += 1
        sent[1] += 1
        strange.kill()
        time.sleep(pause)


def _send_nonsense(browser: Browser, chance: random.Random) -> None:
    kind = chance.randrange(4)
    if kind == 0:
        browser.send_bytes(chance.randbytes(chance.randrange(200)))
    elif kind == 1:
        browser.send("GuiUpdateMessage", uuid=chance.choice([*browser.controls.values(), "x"]), updates={"value": []})
    elif kind == 2:
        value = chance.choice([None, "x", -1, 1e300, {"a": 1}, [float("nan")] * 3])
        browser.set(chance.choice(list(browser.controls)), value)
    else:
        browser.move(position=[chance.choice([float("nan"), 1e30, "x"])] * 3)


if __name__ == "__main__":
    sys.exit(main())
