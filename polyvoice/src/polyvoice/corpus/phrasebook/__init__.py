"""A synchronous grammar of everyday sentences in Chinese, English and Spanish."""
