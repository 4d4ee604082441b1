"""``python -m smsd`` is the same as the ``smsd`` command."""

from smsd.cli import main

if __name__ == "__main__":
    main()
