#!/usr/bin/env bash
# Table 13 on CIFAR100-LT; arguments go to train.py: plan=true, seed=0, hydra/launcher=joblib_gpu, ...
set -euo pipefail
cd "$(dirname "$0")/.."
exec python train.py -m experiment=table13_cifar100 "$@"
