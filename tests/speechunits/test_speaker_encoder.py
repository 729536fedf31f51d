"""A speaker encoder: its spectra, its network and its file."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from speechunits.audio import Waveform
from speechunits.errors import InputError
from speechunits.speakers.campplus import CamPlusPlus, log_mel_of_kaldi
from speechunits.speakers.encoder import load_speaker_encoder
from speechunits.torchaudio_import import import_torchaudio

pytestmark = pytest.mark.usefixtures("one_thread")


def make_spectra(scatter: Callable[[int, float], torch.Tensor]) -> torch.Tensor:
    loud = torch.tensor([1.0, 4.0])[:, None, None]
    return scatter(2 * 230 * 80, 0.5).view(2, 230, 80).float() * loud


def test_spectra_are_those_of_kaldi(make_waveform: Callable[..., Waveform]) -> None:
    import_torchaudio()
    from torchaudio.compliance import kaldi

    samples = torch.from_numpy(np.stack([make_waveform(1.3, seed).samples for seed in range(2)]))
    for row, found in zip(samples, log_mel_of_kaldi(samples), strict=True):
        wanted = kaldi.fbank(row[None], num_mel_bins=80, sample_frequency=16_000, dither=0.0)
        np.testing.assert_allclose(found, wanted - wanted.mean(0), atol=2e-3)


# What `CAMPPlus(80, 192)` of 3D-Speaker (speakerlab 0.0.6, models/campplus/DTDNN.py) says of these spectra with these
# weights: every 24th value.
GOLDEN = [
    [-0.44506, -0.014711, -0.13405, -0.32916, -0.096748, 0.184, -0.13095, -0.22874],
    [-0.47409, -0.23864, -0.26319, -0.42319, -0.25951, 0.20198, -0.33247, -0.15329],
]


def test_embeddings_are_those_of_the_published_network(save_speaker_encoder, scatter) -> None:
    model = CamPlusPlus().eval()
    model.load_state_dict(torch.load(save_speaker_encoder(0)))
    with torch.no_grad():
        np.testing.assert_allclose(model(make_spectra(scatter))[:, ::24], GOLDEN, rtol=1e-3, atol=1e-3)


def test_embeddings_have_length_one_and_do_not_hear_loudness(save_speaker_encoder, make_waveform) -> None:
    encoder = load_speaker_encoder(save_speaker_encoder(0))
    samples = torch.from_numpy(np.stack([make_waveform(1.0, seed).samples for seed in range(3)]))
    embeddings = encoder.embed(samples)
    np.testing.assert_allclose(embeddings.norm(dim=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(encoder.embed(0.3 * samples), embeddings, atol=2e-3)
    np.testing.assert_allclose(encoder.embed(samples[1:2]), embeddings[1:2], atol=1e-5)  # a batch is so many rows


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing.pt: no such file"):
        load_speaker_encoder(tmp_path / "nothing.pt")
    (tmp_path / "text.pt").write_text("no weights")
    with pytest.raises(InputError, match=r"text.pt: not a file of weights only"):
        load_speaker_encoder(tmp_path / "text.pt")
    torch.save({"head.conv1.weight": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match=r"other.pt: not the weights of CAM\+\+"):
        load_speaker_encoder(tmp_path / "other.pt")
