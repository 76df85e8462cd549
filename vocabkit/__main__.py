"""`python -m vocabkit` is `vocabkit`."""

from vocabkit.cli import main

if __name__ == "__main__":
    main()
