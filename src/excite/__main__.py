"""`python -m excite` is `excite`."""

from excite.cli.main import main

if __name__ == "__main__":
    main()
