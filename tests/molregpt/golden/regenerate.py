"""Recompute golden/scores.json, each figure in another way than molregpt does.

    python tests/molregpt/golden/regenerate.py WORDNET_DIR

WORDNET_DIR is WordNet 3.0 as NLTK's reader wants it (NLTK's own download, or Debian's dictionary files with a
`lexnames` table and an empty `index.sense`). Needs nltk, rapidfuzz, rdkit, sacrebleu and transformers.
"""

from __future__ import annotations

import gzip
import json
import re
import statistics
import sys
import tempfile
from collections import Counter
from itertools import pairwise
from pathlib import Path

from molregpt.assets import asset

HERE = Path(__file__).parent


def read(path: Path) -> dict[str, list[str]]:
    rows = (line.split("\t") for line in path.read_text(encoding="utf-8").split("\n")[1:] if line)
    return {key: cells for key, *cells in rows}


def sacre_bleu(predictions: list[list[str]], references: list[list[str]], order: int) -> float:
    from sacrebleu.metrics import BLEU

    metric = BLEU(tokenize="none", smooth_method="none", max_ngram_order=order, force=True)
    return metric.corpus_score([" ".join(p) for p in predictions], [[" ".join(r) for r in references]]).score / 100


def rouge_f1(overlap: int, predicted: int, expected: int) -> float:
    return 2 * overlap / (predicted + expected) if overlap else 0.0


TEMPLATES = {
    r"has a role as (.+)": "role",
    r"derives from (?!a hydride of )(.+)": "parent",
    r"derives from a hydride of (.+)": "hydride",
    r"is a conjugate acid of (.+)": "acid",
    r"is a conjugate base of (.+)": "base",
    r"is an enantiomer of (.+)": "enantiomer",
    r"is a tautomer of (.+)": "tautomer",
    r"contains (an? .+)": "part",
}
STOPS = frozenset(
    re.findall(
        "[a-z]+",
        """that which in where wherein whose having with obtained derived consisting comprising composed comprised as is
        resulting arising formed isolated carrying bearing containing substituted used found produced made from by for
        on at to has being possessing linked attached acting known exhibiting featuring showing characterized
        corresponding sometimes also""",
    )
)


def class_name(item: str) -> str | None:
    """The class that an item of a list with articles names, by its words."""
    article, *words = item.split()
    if words[:2] == ["member", "of"]:
        words = words[2:]
        if words[:3] == ["the", "class", "of"]:
            words = words[3:]
        words[-1] = words[-1].removesuffix("s")
    odd = any(word in STOPS or word in {"of", "and", "or"} or word[-1] in ",;:-" for word in words)
    return None if odd or article not in {"a", "an"} or not words else " ".join(words)


def caption_relations(caption: str) -> set[tuple[str, str]]:
    relations = set()
    for number, sentence in enumerate(
        re.split(r"[.;] (?=[A-Z])| (?=It (?:has|is an?|derives) )", caption.rstrip(". "))
    ):
        subject = "The molecule " if number == 0 else "It "
        statement = sentence.removeprefix(subject)
        if statement == sentence:
            continue
        found = [(kind, match[1]) for form, kind in TEMPLATES.items() if (match := re.fullmatch(form, statement))]
        if found:
            [(kind, text)] = found
            items = re.sub("^an? ", "", text.split("; ")[0])
            relations |= {(kind, item) for item in re.split(", an? | and an? ", items)}
            continue
        words = statement.removeprefix("is ").split()
        items = re.split(", (?=an? )| and (?=an? )", " ".join(words))
        names = [class_name(item) for item in items]
        if number == 0 and None in names:
            last = next((place for place, word in enumerate(words) if word in STOPS or word[-1] in ";:"), 0)
            names = [class_name(" ".join(words[:last]).rstrip(","))] if last else []
        if statement.startswith("is ") and None not in names:
            relations |= {("is a", name) for name in names}
    return relations


def relation_scores(predictions: list[str], references: list[str]) -> dict[str, float]:
    predicted, expected = ([caption_relations(text) for text in texts] for texts in (predictions, references))
    right = sum(len(p & e) for p, e in zip(predicted, expected, strict=True))
    precision, recall = right / sum(map(len, predicted)), right / sum(map(len, expected))
    return {
        "relation_precision": precision,
        "relation_recall": recall,
        "relation_f1": statistics.harmonic_mean([precision, recall]),
    }


def caption_scores(predictions: list[str], references: list[str], wordnet_dir: Path) -> dict[str, float]:
    from nltk.corpus.reader.wordnet import WordNetCorpusReader
    from nltk.data import FileSystemPathPointer, path
    from nltk.translate.meteor_score import meteor_score
    from rapidfuzz.distance import LCSseq
    from transformers import BertTokenizer

    with tempfile.NamedTemporaryFile(suffix=".txt") as vocabulary:
        Path(vocabulary.name).write_bytes(gzip.decompress(asset("scibert_vocab.txt.gz").read_bytes()))
        tokenizer = BertTokenizer(vocabulary.name, do_lower_case=True)
        predicted, expected = ([tokenizer.tokenize(text) for text in texts] for texts in (predictions, references))
    path.append(str(wordnet_dir.parent))
    wordnet = WordNetCorpusReader(FileSystemPathPointer(str(wordnet_dir)), None)
    words = [[re.findall("[a-z0-9]+", text.lower()) for text in texts] for texts in (predictions, references)]
    rouge1, rouge2, rouge_l = [], [], []
    for p, r in zip(*words, strict=True):
        rouge1.append(rouge_f1((Counter(p) & Counter(r)).total(), len(p), len(r)))
        pairs_p, pairs_r = Counter(pairwise(p)), Counter(pairwise(r))
        rouge2.append(rouge_f1((pairs_p & pairs_r).total(), pairs_p.total(), pairs_r.total()))
        rouge_l.append(rouge_f1(LCSseq.similarity(p, r), len(p), len(r)))
    return {
        "bleu2": sacre_bleu(predicted, expected, 2),
        "bleu4": sacre_bleu(predicted, expected, 4),
        "rouge1": statistics.fmean(rouge1),
        "rouge2": statistics.fmean(rouge2),
        "rougeL": statistics.fmean(rouge_l),
        "meteor": statistics.fmean(
            meteor_score([r], p, wordnet=wordnet) for p, r in zip(predicted, expected, strict=True)
        ),
    } | relation_scores(predictions, references)


def count_tanimoto(first: Counter[int], second: Counter[int]) -> float:
    union = (first | second).total()
    return (first & second).total() / union if union else 0.0


def molecule_scores(predictions: list[str], references: list[str]) -> dict[str, float]:
    from nltk import edit_distance
    from rdkit import Chem, RDLogger
    from rdkit.Chem import AllChem, MACCSkeys

    RDLogger.DisableLog("rdApp.*")
    predictions, references = ([s.replace("\\", "\\\\") for s in texts] for texts in (predictions, references))
    parsed = [(Chem.MolFromSmiles(p), Chem.MolFromSmiles(r)) for p, r in zip(predictions, references, strict=True)]
    pairs = [(p, r) for p, r in parsed if p is not None]
    maccs = [[Counter(MACCSkeys.GenMACCSKeys(m).GetOnBits()) for m in pair] for pair in pairs]
    rdk = [[Counter(Chem.RDKFingerprint(m).GetOnBits()) for m in pair] for pair in pairs]
    morgan = [[Counter(AllChem.GetMorganFingerprint(m, 2).GetNonzeroElements()) for m in pair] for pair in pairs]
    return {
        "bleu": sacre_bleu([list(p) for p in predictions], [list(r) for r in references], 4),
        "exact": sum(Chem.MolToInchiKey(p) == Chem.MolToInchiKey(r) for p, r in pairs) / len(parsed),
        "levenshtein": statistics.fmean(edit_distance(p, r) for p, r in zip(predictions, references, strict=True)),
        "maccs": statistics.fmean(count_tanimoto(p, r) for p, r in maccs),
        "rdk": statistics.fmean(count_tanimoto(p, r) for p, r in rdk),
        "morgan": statistics.fmean(count_tanimoto(p, r) for p, r in morgan),
        "validity": len(pairs) / len(parsed),
    }


def main() -> None:
    samples = read(Path(str(asset("chebi20_samples.tsv"))))
    predictions = read(HERE / "predictions.tsv")
    captions = caption_scores(
        [predictions[key][0] for key in samples], [cells[1] for cells in samples.values()], Path(sys.argv[1])
    )
    molecules = molecule_scores([predictions[key][1] for key in samples], [cells[0] for cells in samples.values()])
    content = {"mol2cap": captions, "cap2mol": molecules}
    (HERE / "scores.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
