"""Train, continue or skip one run, or with -m each run of a sweep: `daso --help`, or `python -m daso --help`."""

import signal
import sys


def main() -> int:
    """Run the command line; returns the exit code."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Until a run or a sweep listens, a Ctrl-C ends the process at once: an exception would strike amid an import,
        # where torch swallows it and goes on with half a NumPy.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from daso.command.program import main

    return main()


if __name__ == "__main__":
    sys.exit(main())
