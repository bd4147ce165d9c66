#!/usr/bin/env bash
# Every learner, and DASO on each that has room for it, on long-tailed digits with a uniform unlabeled set: 33 runs of
# 1,000 steps, about 15 minutes of one CPU core. Arguments go to train.py.
set -euo pipefail
cd "$(dirname "$0")/.."
python train.py -m experiment=quickstart \
  algorithm=supervised,pseudolabel,meanteacher,meanteacher_daso,mixmatch,mixmatch_daso,remixmatch,remixmatch_daso,usadtm,fixmatch,fixmatch_daso \
  seed=0,1,2 "$@"
python -m daso.report table=mine
