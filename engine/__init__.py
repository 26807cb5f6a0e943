"""A run: configuration, command line, training, evaluation, checkpoints and outputs."""

import os

# PyTorch's waiting threads must sleep: spinning ones make a run several times slower where other work shares the cores.
# It counts only if it is set before PyTorch is loaded, so it stands here, in the first package the scripts import.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
