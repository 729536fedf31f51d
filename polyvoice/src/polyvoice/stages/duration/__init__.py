"""The duration model: how long each unit of the translation lasts."""
