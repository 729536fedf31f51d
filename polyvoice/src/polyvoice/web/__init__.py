"""A page in the browser: record or upload speech, hear it in another language, see what happened on the way."""
