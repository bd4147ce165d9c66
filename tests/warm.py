"""Command lines of the program in processes that need not import it: each is forked from one that has.

Such a process is otherwise what `python train.py ...` starts: a folder, an environment, streams, signals and an exit code
of its own, threads and exit handlers as at the end of any interpreter. So are the workers of joblib that it starts. What
only an interpreter shows that starts afresh is tested with `train.py` itself.
"""

import array
import atexit
import gc
import json
import os
import resource
import runpy
import select
import selectors
import signal
import socket
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LONGEST = 1 << 20  # bytes of an order
PAUSE = 0.02  # seconds between two looks at the processes that run


def start(folder, *arguments, merged=False, **environment):
    """Run a command line in `folder`; `merged` writes its errors where its output goes."""
    return Process(folder, arguments, merged, os.environ | environment)


class Process:
    """What `subprocess.Popen` is, as far as these tests ask it."""

    def __init__(self, folder, arguments, merged, environment):
        self.returncode, self._said = None, b""
        space = resource.getrlimit(resource.RLIMIT_AS)
        order = {"folder": str(folder), "arguments": arguments, "environment": dict(environment), "space": space}
        pipes = [os.pipe() for _ in range(2 if merged else 3)]
        writing = [pipe[1] for pipe in pipes]
        socket.send_fds(smith(), [json.dumps(order).encode()], [writing[-1], writing[0], writing[0 if merged else 1]])
        for number in writing:
            os.close(number)
        *outputs, self._news = [pipe[0] for pipe in pipes]
        self.stdout, *others = map(os.fdopen, outputs)
        self.stderr = others[0] if others else None
        while b"\n" not in self._said:
            assert self._hear(), "no process could be started"
        self.pid = int(self._said.split(b"\n")[0])

    def _hear(self):
        heard = os.read(self._news, 100)
        self._said += heard
        return heard

    def poll(self):
        """The exit code, where there is one."""
        while self.returncode is None and select.select([self._news], [], [], 0)[0]:
            if not self._hear():
                os.close(self._news)
                self.returncode = os.waitstatus_to_exitcode(int(self._said.split()[1]))
        return self.returncode

    def wait(self, timeout=120):
        end = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("train.py", timeout)
            select.select([self._news], [], [], 0.5)
        return self.returncode

    def send_signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout=120):
        """Output and errors, to their ends."""
        end, said = time.monotonic() + timeout, {}
        with selectors.DefaultSelector() as both:
            for stream in filter(None, (self.stdout, self.stderr)):
                both.register(stream.fileno(), selectors.EVENT_READ)
                said[stream.fileno()] = b""
            while both.get_map():
                if time.monotonic() > end:
                    raise subprocess.TimeoutExpired("train.py", timeout, b"".join(said.values()))
                for ready, _ in both.select(0.5):
                    said[ready.fd] += (heard := os.read(ready.fd, 1 << 16))
                    if not heard:
                        both.unregister(ready.fd)
        for stream in filter(None, (self.stdout, self.stderr)):
            stream.close()
        self.wait(max(end - time.monotonic(), 1))
        return *(whole.decode() for whole in said.values()), *([] if self.stderr else [None])


@cache
def smith():
    """The connection to a process that has imported the program and forks others."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LONGEST)
    command = [sys.executable, "-m", "tests.warm", str(theirs.fileno())]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"},
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    theirs.close()
    atexit.register(process.wait)
    atexit.register(ours.close)  # first, upon which the process ends
    return ours


def serve(connection):
    """Fork a process for each order. Returns in each of them what it is to do; in this one None, when nobody is left."""
    running = {}  # process id -> where its news go
    while True:
        if select.select([connection], [], [], PAUSE if running else None)[0]:
            message, ancillary, *_ = connection.recvmsg(LONGEST, socket.CMSG_SPACE(3 * array.array("i").itemsize))
            if not message:
                return None
            news, *streams = array.array("i", ancillary[0][2])
            if not (process := os.fork()):
                for number in (connection.detach(), news, *running.values()):
                    os.close(number)
                return take_over(json.loads(message), streams)
            running[process] = news
            os.write(news, f"{process}\n".encode())
            for number in streams:
                os.close(number)
        for process in list(running):
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                news = running.pop(process)
                os.write(news, f"{status}\n".encode())
                os.close(news)


def take_over(order, streams):
    """Make this process the one of a command line, and give its arguments."""
    for number, stream in enumerate(streams, 1):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    resource.setrlimit(resource.RLIMIT_AS, tuple(order["space"]))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return order["arguments"]


def fork_workers():
    """Have joblib's workers forked from this process as well, instead of started afresh."""
    from joblib.externals.loky.backend import fork_exec

    afresh = fork_exec.fork_exec

    def forked(command, kept, env=None):
        if command[1] != "-m":
            return afresh(command, kept, env)
        if process := os.fork():
            return process
        code = 1
        try:
            gc.freeze()  # nothing of the other process is closed or deleted here
            for first, second in zip([2, *sorted(kept)], [*sorted(kept), 1 << 16]):
                os.closerange(first + 1, second)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                ignored = signal.getsignal(number) is signal.SIG_IGN
                usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
                signal.signal(number, signal.SIG_IGN if ignored else usual)
            os.environ.update(env or {})
            sys.argv = command[2:]
            runpy.run_module(command[2], run_name="__main__", alter_sys=True)
        except SystemExit as end:
            code = end.code
        finally:
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(code)

    fork_exec.fork_exec = forked


class Forks:
    """In the place of `subprocess`, where it starts this very program: forks a process that has imported it."""

    SubprocessError = subprocess.SubprocessError

    @staticmethod
    def run(command, input, **how):
        module = sys.modules[command[2]]
        reading, writing = os.pipe()
        os.write(writing, input.encode())
        os.close(writing)
        if not (process := os.fork()):
            code = 1
            try:
                gc.freeze()
                os.setsid()
                os.dup2(reading, 0)
                sys.stdin = os.fdopen(0, closefd=False)
                code = module.main()
            finally:
                sys.stdout.flush(), sys.stderr.flush()
                os._exit(code)
        os.close(reading)
        os.waitpid(process, 0)


def main():
    """Serve, and in a process that is forked for an order: run the command line, which draws no figures of runs."""
    import mlflow.tracking  # noqa: F401  what a run and its tracking import
    import sklearn.datasets  # noqa: F401

    from daso.__main__ import main
    from daso.command import program
    from daso.run import training
    from daso.track import sweeps
    from tests import composed

    program.prepare()
    composed.patch()
    training.draw_figures = lambda *given: None
    sweeps.subprocess = Forks
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    arguments = serve(socket.socket(fileno=int(sys.argv[1])))
    if arguments is None:
        return 0
    fork_workers()
    sys.argv = [str(ROOT / "train.py"), *arguments]
    return main()


if __name__ == "__main__":
    sys.exit(main())
