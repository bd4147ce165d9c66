#!/usr/bin/env bash
# FixMatch with and without logit adjustment and DASO on long-tailed digits, the unlabeled set matched, uniform and
# reversed: 36 runs of 1,000 steps, about 12 minutes of one CPU core. Arguments go to train.py, and the
# report reads the out_root among them.
set -euo pipefail
cd "$(dirname "$0")/.."
python train.py -m experiment=quickstart \
  imbalance=digits_n20_m100_g10,digits_n20_m100_g10_uniform,digits_n20_m100_g10_reversed \
  algorithm=fixmatch,fixmatch_la,fixmatch_daso,fixmatch_la_daso seed=0,1,2 "$@"
runs=outputs
for argument in "$@"; do
  case $argument in out_root=*) runs=${argument#out_root=} ;; esac
done
python -m daso.report table=mine runs="$runs"
