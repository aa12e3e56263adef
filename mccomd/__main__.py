"""`python -m mccomd` is `mccomd`."""

from mccomd.cli import main

main()
