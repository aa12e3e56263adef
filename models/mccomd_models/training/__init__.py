"""Training a fill-in-the-middle model: repositories -> samples -> shards -> weights -> a model folder.

The commands are `python -m mccomd_models.training --help`; models/runs holds whole runs. Only this package
imports torch; nothing that the daemon imports comes here.
"""
