#!/usr/bin/env bash
# The paper's zoo and the field after it on CIFAR-10-LT;
# arguments go to train.py: plan=true, seed=0, algorithm=fixmatch,fixmatch_daso, ...
set -euo pipefail
cd "$(dirname "$0")/.."
exec python train.py -m experiment=field_cifar10 "$@"
