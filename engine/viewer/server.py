"""The viewer's server: browsers come and go, and one thread renders for all of them in turn."""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import socket
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue

import viser

from common.text.wording import shell
from engine.errors import ConfigError
from engine.runs.run import Run
from engine.training.interruption import Interruption
from engine.viewer.client import Client
from engine.viewer.images import prepare_frame
from scenes.novel_views import rig_up
from scenes.types import SceneError

logger = logging.getLogger(__name__)

LOCAL = "127.0.0.1"
EVERYWHERE = ("0.0.0.0", "::")
IDLE = 0.05  # seconds until controls are looked at again, where no browser has told of a change
ENCODERS = 4  # threads that encode pictures while others are rendered; each browser uses one at a time
FRESH = 5.0  # seconds between two looks for a newer iteration


class _Server(viser.ViserServer):
    """viser's server without its tunnel: any browser could ask it to make the pictures public."""

    def request_share_url(self, verbose: bool = True) -> str | None:
        return None


class Viewer:
    """A server of a run's pictures. renewed: gives the run with newer iterations, or the same one.

    host, port: the address; a port that is taken is replaced by the next free one. budget: seconds of a picture while
    the camera moves. width: of a picture, px. Raises ConfigError for an address that this machine does not have.
    """

    def __init__(
        self,
        run: Run,
        *,
        host: str = LOCAL,
        port: int = 8080,
        budget: float = 0.1,
        width: int = 1280,
        renewed: Callable[[Run], Run] | None = None,
    ) -> None:
        check_address(host, port)
        for logger_of_browsers in ("websockets", "asyncio"):  # they tell of every browser that leaves midway
            logging.getLogger(logger_of_browsers).setLevel(logging.CRITICAL)
        warnings.filterwarnings("ignore", "Queued a .* on a closed connection", UserWarning)
        self._run, self._renewed, self._host = run, renewed, host
        self._wake = threading.Event()
        self._clients: dict[int, Client] = {}
        self._left: SimpleQueue[Client] = SimpleQueue()  # whose browser is gone
        self._encoders = ThreadPoolExecutor(ENCODERS, "encode")
        with contextlib.redirect_stdout(io.StringIO()):  # its banner, which is not ours
            self._server = _Server(host=host, port=port, label="MoE-GS", verbose=False)
        self._server.gui.configure_theme(show_logo=False, show_share_button=False)
        self._server.gui.main_panel.dock_right()
        with contextlib.suppress(SceneError):  # a rig without an up: any direction will do
            self._server.scene.set_up_direction(rig_up(run.scene.views).cpu().double().numpy())

        @self._server.on_client_connect
        def _(handle: viser.ClientHandle) -> None:
            client = Client(
                handle,
                self._run,
                self._wake.set,
                event_loop=self._server.get_event_loop(),
                width=width,
                budget=budget,
                encoders=self._encoders,
            )
            self._clients[handle.client_id] = client
            if handle.client_id not in self._server.get_clients():  # it has left while its controls were made
                self._forget(handle.client_id)
            self._wake.set()

        @self._server.on_client_disconnect
        def _(handle: viser.ClientHandle) -> None:
            self._forget(handle.client_id)

    @property
    def port(self) -> int:
        """The port that it listens at."""
        return int(self._server.get_port())

    @property
    def clients(self) -> int:
        """The number of browsers."""
        return len(self._clients)

    def lines(self) -> list[str]:
        """The address for people, and the way to reach it from another machine."""
        shown = socket.gethostname() if self._host in EVERYWHERE else self._host
        lines = [f"viewer: http://{shown}:{self.port} (Ctrl-C stops it)"]
        if self._host == LOCAL:
            tunnel = shell("ssh", "-N", "-L", f"{self.port}:{LOCAL}:{self.port}", f"USER@{socket.gethostname()}")
            lines.append(f"from another machine: {tunnel}, then open http://localhost:{self.port} there")
        else:
            lines.append("everyone who can reach this address sees the run; without --host only this machine does")
        return lines

    def serve(self, stop: Interruption) -> None:
        """Renders for browsers until `stop` is requested."""
        looked = time.monotonic()
        while not stop.requested:
            if not self.serve_once() and not self._look_ahead():
                now = time.monotonic()
                due = min((client.due(now) for client in list(self._clients.values())), default=IDLE)
                self._wake.wait(min(max(due, 0.0), IDLE))
                self._wake.clear()
            if self._renewed is not None and time.monotonic() - looked > FRESH:
                self._run, looked = self._renewed(self._run), time.monotonic()

    def serve_once(self) -> bool:
        """Gives each browser a picture, where it should have another; True where there is more to do."""
        self._close_left()
        served = [self._serve_client(client) for client in list(self._clients.values())]
        return any(served)

    def close(self) -> None:
        """Sends browsers away and frees the port."""
        self._close_left()
        for client in list(self._clients.values()):
            client.close()
        self._encoders.shutdown()
        with contextlib.redirect_stdout(io.StringIO()):
            self._server.stop()

    def _serve_client(self, client: Client) -> bool:
        wish, filming = None, False
        try:
            client.serve_clicks(self._run)
            filming = client.film_on(self._run)
            wish = client.wish(self._run, time.monotonic())
            if wish is None:
                return filming
            client.show(self._run, wish, time.monotonic())
        except Exception as error:  # whatever one browser causes, the others keep their pictures
            fault = f"{type(error).__name__}: {error}"
            message = "a browser's file failed: %s" if wish is None else "a browser's picture failed: %s"
            logger.warning(message, fault)
            logger.debug("its traceback", exc_info=True)
            client.give_up(wish, fault)
            return False
        return True

    def _close_left(self) -> None:
        with contextlib.suppress(Empty):
            while True:
                self._left.get_nowait().close()

    def _forget(self, number: int) -> None:
        client = self._clients.pop(number, None)
        if client is not None:
            self._left.put(client)

    def _look_ahead(self) -> bool:
        """Computes the Gaussians of a frame that a browser is shown soon; False where all are computed."""
        for client in list(self._clients.values()):
            soon = client.frame_ahead(self._run)
            if soon is None:
                continue
            try:
                prepare_frame(self._run, soon[0], view=soon[1])
            except Exception as error:  # the picture itself will fail in the same way, and tell
                logger.debug("frame %d ahead: %s", soon[0], error)
            return True
        return False


def check_address(host: str, port: int) -> None:
    """Raises ConfigError where nothing can listen at an address; viser would wait for it for ever."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, OverflowError) as error:
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            return  # the next free one is taken
        raise ConfigError(
            f"--host {host} --port {port}: nothing can listen there ({error}); give an address of this machine, "
            f"such as {LOCAL}, and a port from 1024 to 65535"
        ) from None
