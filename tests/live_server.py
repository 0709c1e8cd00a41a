"""The real server, `csm-agent serve`, in a process of its own."""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from types import TracebackType

START_S = 120


class LiveServer:
    """Starts `csm-agent serve` on a free port and waits until it says that it is ready."""

    def __init__(self, *args: str, **environ: str) -> None:
        """`args` go to the command; `environ` are settings, such as STT__MODEL="tiny.en"."""
        self._args = args
        self._environ = {f"CSM_AGENT__{name}": value for name, value in environ.items()}
        self._lines: queue.Queue[str] = queue.Queue()
        self.log: list[str] = []
        self.url = ""

    def __enter__(self) -> "LiveServer":
        """Starts the server; fails with its log if it does not get ready."""
        command = [sys.executable, "-m", "agent", "serve", "--profile", "embedded", "--port", "0"]
        self.process = subprocess.Popen(
            [*command, *self._args],
            env={**os.environ, "HF_HUB_OFFLINE": "1", **self._environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()
        try:
            line = self.wait_for("ready: ", START_S)
        except BaseException:
            self.process.kill()
            raise
        self.url = line.split("ready: ")[1].split()[0]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stops the server at once."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    @property
    def ws_url(self) -> str:
        """Where a websocket caller connects."""
        return self.url.replace("http", "ws", 1) + "/ws"

    def wait_for(self, text: str, within_s: float = 30) -> str:
        """The first log line from now on that holds `text`."""
        deadline = time.monotonic() + within_s
        while True:
            try:
                line = self._lines.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                log = "\n".join(self.log[-40:])
                raise AssertionError(f"the server did not say {text!r}:\n{log}") from None
            if text in line:
                return line

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.log.append(line.rstrip())
            self._lines.put(line.rstrip())
        self._lines.put("")
