#!/usr/bin/env bash
# Every learner, and DASO on each that has room for it, on long-tailed digits with a uniform unlabeled set: 33 runs of
# 1,000 steps, about 15 minutes of one CPU core. Arguments go to train.py, and the
# report reads the out_root among them.
set -euo pipefail
cd "$(dirname "$0")/.."
python train.py -m experiment=quickstart \
  algorithm=supervised,pseudolabel,meanteacher,meanteacher_daso,mixmatch,mixmatch_daso,remixmatch,remixmatch_daso,usadtm,fixmatch,fixmatch_daso \
  seed=0,1,2 "$@"
runs=outputs
for argument in "$@"; do
  case $argument in out_root=*) runs=${argument#out_root=} ;; esac
done
python -m daso.report table=mine runs="$runs"
