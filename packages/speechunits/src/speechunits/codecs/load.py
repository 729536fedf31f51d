"""One way to name any codec."""

import re
from pathlib import Path

from speechunits.codecs.protocol import Codec
from speechunits.errors import InputError

_ENCODEC = re.compile(r"encodec-(?P<kind>24khz|48khz)(?:@(?P<bandwidth>[0-9.]+))?(?::(?P<weights>.+))?")
_LEVELS = re.compile(r"(?P<folder>.+)@(?P<levels>\d+)")
_BANDWIDTH_KBPS = 6.0  # of VALL-E and PolyVoice


def load_codec(where: str, device: str = "cpu") -> Codec:
    """Load a codec by name.

    Args:
        where: `encodec-24khz` or `encodec-48khz`, at 6 kbps; `encodec-24khz@3` at 3 kbps; `encodec-24khz:FILE` or
            `encodec-24khz@3:FILE` with the weights of a file instead of the published ones; or a folder that
            `polyvoice train codec` wrote, such as `runs/codec`, `runs/codec@4` for its first four levels only.
        device: torch device.

    Raises:
        InputError: the name is none of these, or what it names cannot be loaded.
    """
    match = _ENCODEC.fullmatch(where)
    if match is None:
        folder, levels = split_levels(where)
        if not folder.is_dir():
            raise InputError(f"codec {where!r} is neither encodec-24khz, encodec-48khz nor a folder")
        from speechunits.codecs.speech_codec import load_speech_codec

        return load_speech_codec(folder, device, levels)
    weights = Path(match["weights"]) if match["weights"] else None
    try:
        bandwidth_kbps = float(match["bandwidth"] or _BANDWIDTH_KBPS)
    except ValueError as error:
        raise InputError(f"codec {where!r}: {match['bandwidth']!r} is not a number of kbps") from error
    if match["kind"] == "24khz":
        from speechunits.codecs.encodec_24khz import load_encodec_24khz

        return load_encodec_24khz(weights, bandwidth_kbps=bandwidth_kbps, device=device)
    from speechunits.codecs.encodec_48khz import load_encodec_48khz

    return load_encodec_48khz(weights, bandwidth_kbps=bandwidth_kbps, device=device)


def split_levels(where: str) -> tuple[Path, int | None]:
    """The folder and the number of levels in `runs/codec@4`; no number where the name has none."""
    counted = _LEVELS.fullmatch(where)
    if counted is None or Path(where).is_dir():
        return Path(where), None
    return Path(counted["folder"]), int(counted["levels"])
