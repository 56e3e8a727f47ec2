"""The command line's verbs, one module each: arguments in, exit codes out, nothing else."""
