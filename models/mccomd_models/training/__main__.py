"""`python -m mccomd_models.training`: prepare, run, export, plot."""

from mccomd_models.training.commands import main

main()
