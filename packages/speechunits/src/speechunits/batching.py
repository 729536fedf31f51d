"""Which items to put into one padded batch."""

from collections.abc import Iterator, Sequence


def batches_by_length(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Yield positions in batches of similar length, longest first, so that little is padded.

    Args:
        lengths: of each item.
        budget: most of (items in a batch) x (its longest); a longer item makes a batch of its own.
    """
    batch: list[int] = []
    for position in sorted(range(len(lengths)), key=lambda position: -lengths[position]):
        if batch and (len(batch) + 1) * lengths[batch[0]] > budget:
            yield batch
            batch = []
        batch.append(position)
    if batch:
        yield batch
