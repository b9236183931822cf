"""`python -m posegen` is the posegen command."""

from posegen.cli import main

main()
