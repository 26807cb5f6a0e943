"""How a run goes: configuration, command line, training, evaluation, checkpoints and outputs."""
