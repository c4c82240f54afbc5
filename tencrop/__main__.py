"""`python -m tencrop`: the command line."""

from tencrop.cli import main

if __name__ == "__main__":
    main()
