"""`python -m quarantine.cli`: the same as the command `quarantine`."""

from quarantine.cli import main

main()
