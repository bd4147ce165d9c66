"""A second, independent implementation of every training step: slow, plain, float64, on a CPU.

It is written from the behaviour specification alone and imports nothing of `daso`, so that where the two agree neither
can have inherited the other's mistake. It is itself held to the recorded trajectories and to the recorded single steps.
Settings carry the names of the reference implementation's configuration; what `replay` returns has the keys of
`tests/golden/e2e`. Loops run over samples and classes on purpose: nothing here is meant to be fast.
"""
