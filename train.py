"""Train, continue or skip one run, or with -m each run of a sweep: `python train.py --help`, or `daso --help`."""

import sys

from daso.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
