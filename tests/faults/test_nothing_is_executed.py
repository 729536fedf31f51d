"""What is loaded cannot run: said of the source, call by call."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = [
    path
    for folder in ("shared/src", "packages/speechunits/src", "packages/molindex/src", "polyvoice/src", "molregpt/src")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
# Modules that can run what they read. `pickle` itself is there for its errors and for a reader that makes nothing.
FORBIDDEN_MODULES = {"joblib", "shelve", "marshal", "dill", "cloudpickle", "yaml", "tarfile", "zipfile", "xmlrpc"}
PICKLE_NAMES = {"UnpicklingError", "_Unpickler"}
FORBIDDEN_CALLS = {
    "eval",
    "exec",
    "compile",
    "os.system",
    "os.popen",
    "shutil.unpack_archive",
    "pickle.load",
    "pickle.loads",
}
NAMED = {"weights_only": True, "allow_pickle": False}


INTERESTING = (ast.Call, ast.Import, ast.ImportFrom, ast.Attribute, ast.AnnAssign)


@cache
def nodes() -> list[tuple[str, ast.AST]]:
    return [
        (f"{path.relative_to(ROOT)}:{node.lineno}", node)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, INTERESTING)
    ]


def calls() -> Iterator[tuple[str, str, dict[str, object]]]:
    """Where, what is called, and its keyword arguments that are constants."""
    for where, node in nodes():
        if isinstance(node, ast.Call):
            constants = {
                each.arg: each.value.value
                for each in node.keywords
                if each.arg and isinstance(each.value, ast.Constant)
            }
            yield where, ast.unparse(node.func), constants


def test_there_are_sources() -> None:
    assert len(SOURCES) > 200


def test_no_module_is_imported_that_runs_what_it_reads() -> None:
    imported = [
        (where, name.name if isinstance(node, ast.Import) else f"{node.module}.{name.name}")
        for where, node in nodes()
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    ]
    found = [(where, name) for where, name in imported if name.split(".")[0] in FORBIDDEN_MODULES]
    assert [each for each in found if not each[1].startswith("zipfile.BadZipFile")] == []


def test_pickle_is_used_for_its_errors_and_an_inert_reader_alone() -> None:
    used = {
        (node.attr, where)
        for where, node in nodes()
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "pickle"
    }
    assert {name for name, _ in used} <= PICKLE_NAMES
    assert {where.split(":")[0].rsplit("/", 1)[1] for name, where in used if name == "_Unpickler"} == {
        "fairseq_kmeans.py"
    }


def test_nothing_is_evaluated_and_no_shell_is_asked() -> None:
    assert [(where, name) for where, name, _ in calls() if name in FORBIDDEN_CALLS] == []
    assert [
        (where, name) for where, name, given in calls() if given.get("shell") or given.get("trust_remote_code")
    ] == []


def test_torch_reads_weights_only_and_numpy_no_objects() -> None:
    loads = {"torch.load": "weights_only", "np.load": "allow_pickle", "numpy.load": "allow_pickle"}
    found = [(where, name, given) for where, name, given in calls() if name in loads]
    assert found
    assert [(where, name) for where, name, given in found if given.get(loads[name]) is not NAMED[loads[name]]] == []


def test_keys_come_from_the_environment_alone() -> None:
    """No option and no field holds a key; the one place that reads it is `ServerOptions.read_key`."""
    fields = [
        (where, node.target.id)
        for where, node in nodes()
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]
    assert {name for _, name in fields if "api_key" in name or "token_secret" in name} == {"api_key_env"}
