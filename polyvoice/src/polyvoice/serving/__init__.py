"""Translation for others: an HTTP server in OpenAI's manner, and what it shares with the page of `polyvoice web`."""
