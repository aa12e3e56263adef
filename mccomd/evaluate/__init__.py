"""How good are the answers? Cases with a known truth, asked of a real daemon, scored as others score.

`cases` reads cases, `harvest` makes them of a repository's own history, `trees` shows a case's repository
without its answer, `ask` puts the cases to a daemon and `answers` keeps what it said; `metrics` scores one
answer, `statistics` many, `cascade` plays local and large model together, `figures` makes the table, `report`
draws it, `calibrate` writes what confidence means into a model's manifest. Nothing but the command line
imports this package. Knows the daemon by its socket.
"""
