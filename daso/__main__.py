"""Train, continue or skip one run, or with -m each run of a sweep: `daso --help`, or `python -m daso --help`."""

import signal
import sys

from daso.machine.streams import STARTS, say_start

ASKING = ("-h", "--help", "--hydra-help", "--version", "-c", "--cfg", "-i", "--info", "-sc", "--shell-completion")


def main() -> int:
    """Run the command line; returns the exit code."""
    asks = any(word.partition("=")[0] in ASKING for word in sys.argv[1:])
    plans = any(word.lstrip("+").startswith("plan=") for word in sys.argv[1:])
    if not asks and sys.stdout is not None and sys.stdout.isatty():  # elsewhere once it is clear that there is a run
        print(STARTS, flush=True)
    elif plans and not asks:  # of which a file or a pipe gets the plan alone
        say_start()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Until a run or a sweep listens, a Ctrl-C ends the process at once: an exception would strike amid an import,
        # where torch swallows it and goes on with half a NumPy.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from daso.command.program import main

    return main()


if __name__ == "__main__":
    sys.exit(main())
