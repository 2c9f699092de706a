"""Errors of the kit, named by what happens next: the test fails."""

from worker.errors import SluiceError


class UnwritableItemError(SluiceError):
    """DynamoDB would not take this item, or Sluice cannot tell what would be written."""


class UnansweredLetterError(SluiceError, AssertionError):
    """A change was dead-lettered and the test has not looked."""
