"""What a keystroke costs, measured from outside: typed traces through the socket of a real daemon.

`traces` reads and checks typed edits, `record` makes them from a repository's history, `keystroke` replays
them, `peer` runs the same prompts through llama.cpp's server, `engine` measures bare passes of the model,
`report` draws it all. Nothing but the command line imports this package. Knows the daemon only by its
socket; llama.cpp, gguf and matplotlib are imported where they are used (the extra `bench`).
"""
