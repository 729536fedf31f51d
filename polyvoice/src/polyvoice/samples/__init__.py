"""The page of samples: what was heard, what was said and what should have been said, to be listened to."""
