"""What stands for a trial's run, and what is asked of trials."""


def value(config, provenance=None):
    """A smooth function of what is searched; best at t_dist = 1."""
    return 90.0 - (config.daso.t_dist - 1) ** 2 + config.seed


def states(trials):
    return [trial.state.name for trial in trials]


def settings(jobs):
    return [(c.daso.t_dist, c.daso.t_proto, c.daso.align_weight, c.daso.warmup_steps, c.seed) for c, _ in jobs]
