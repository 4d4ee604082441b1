"""What several tests need: throw-away servers, builders, a clock that stands still."""
