"""The languages that come with vocabkit, one module each, registered like any third party's."""
