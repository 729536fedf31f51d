"""Of several answers the one that the model confirms when it is asked the other way round.

What speech says is the text of which that speech is also probable, and what a sentence means is the translation of
which that sentence is also probable: a noisy channel (arXiv 1908.05731), with the model's own opposite task as the
channel. And units say a text well where the model, listening to them, recognises it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polyvoice.tasks import UNITS, recognize_speech
from unitlm.alphabet import Content
from unitlm.generate import Continuation, prefill
from unitlm.language_model import LanguageModel
from unitlm.sampling import Choices
from unitlm.scoring import score_continuations
from unitlm.task import Task
from unitlm.vocabulary import Vocabulary

# A text has far fewer ids than the units that it has to explain. Of 84 development recordings, .2 to .5 are alike.
_SPEECH_WEIGHT = 0.5
# BLEU of 206 development sentences of Tatoeba, from Chinese: 25.2 without, 28.2 to 28.5 with .2 to .3, 25.7 with .7.
_TEXT_WEIGHT = 0.3
# More views tell little more, and each takes its time.
_CHANNEL_VIEWS = 3


def choose_explaining(
    model: LanguageModel,
    vocabulary: Vocabulary,
    hypotheses: Sequence[Continuation],
    given: Sequence[Content],
    channel: Task,
) -> Continuation:
    """The text that is probable itself, and after which what was given is: P(text | given) P(given | text)^w.

    Args:
        model: has learned the channel.
        vocabulary: its vocabulary.
        hypotheses: transcripts or translations of one utterance with their log-probabilities, at least one, the best
            first.
        given: what was transcribed, units in each of their views, or translated, a text.
        channel: the task from text to what was given.
    """
    texts = [one for one in hypotheses if one.ids]
    if len(texts) < 2:
        return (texts or hypotheses)[0]
    views = given[:_CHANNEL_VIEWS]
    weight = _SPEECH_WEIGHT if channel.slots[1].alphabet == UNITS else _TEXT_WEIGHT
    spelled = [vocabulary.decode(channel.slots[0].alphabet, one.ids) for one in texts]
    scores = _score(model, vocabulary, channel, [(text, view) for text in spelled for view in views])
    explained = np.reshape(scores, (len(texts), len(views))).mean(axis=1)
    return texts[int(np.argmax([one.log_probability for one in texts] + weight * explained))]


def choose_recognizable(
    model: LanguageModel, vocabulary: Vocabulary, candidates: Sequence[Continuation], text: str, language: str
) -> Continuation:
    """The units in which the model best recognises a text, of those that ended if any did.

    Args:
        model: has learned to recognise speech.
        vocabulary: its vocabulary.
        candidates: units that may say it, at least one, the most probable first.
        text: what they should say.
        language: of the text.
    """
    task = recognize_speech(language)
    if not vocabulary.encode(task.slots[1].alphabet, text):
        return candidates[0]
    said = [one for one in dict.fromkeys(candidates) if one.ids]
    said = [one for one in said if one.ended] or said
    if len(said) < 2:
        return (said or candidates)[0]
    scores = _score(model, vocabulary, task, [(vocabulary.decode(UNITS, one.ids), text) for one in said])
    return said[int(np.argmax(scores))]


def _score(
    model: LanguageModel, vocabulary: Vocabulary, task: Task, pairs: Sequence[tuple[Content, Content]]
) -> list[float]:
    """Log-probability, in nats, of each pair's second part as the task's answer to the first, all in one batch."""
    given, asked = task.slots
    prompts = [task.prompt({given.name: read}, vocabulary).ids for read, _ in pairs]
    answers = [vocabulary.encode(asked.alphabet, answer) for _, answer in pairs]
    hidden, cache = prefill(model, prompts, max(map(len, answers)))
    choices = Choices.of(vocabulary, asked.alphabet)
    return [one.log_probability for one in score_continuations(model, hidden, cache, choices, answers)]
