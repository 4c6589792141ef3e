"""`python -m escnet` is the command line."""

from escnet.cli.main import main

if __name__ == "__main__":
    main()
