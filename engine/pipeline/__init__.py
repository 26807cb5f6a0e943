"""Many trainings in a row: the steps of every scene of a data set, as jobs for the GPUs of a machine."""
