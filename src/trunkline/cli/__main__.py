"""`python -m trunkline.cli`: the command line where no script of the name is installed, such as in an image."""

from trunkline.cli import main

main()
