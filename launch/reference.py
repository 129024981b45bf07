"""`python -m launch.reference`: writes the pages of docs/ that are made from the code."""

import ast
import builtins
import inspect
import json
import typing
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from common.metric_names import METRICS, PANELS
from launch.config import RunConfig

DOCS = Path(__file__).parents[1] / "docs"

CONFIGURATION = """# Configuration

Made from the code by `python -m launch.reference`; a test compares them.

A configuration is one or more TOML files, read left to right, then overrides of the form
`--section.field=value`; the later value wins, key by key. Unknown keys, wrong types and impossible
combinations are refused with one line. What a run resolved to stands in its `config.toml`.
"""

METRICS_PAGE = """# Metrics

Made from the code by `python -m launch.reference`; a test compares them.

Every learner step is one line of `metrics.jsonl` in the run folder, with `step` and `time` (seconds since
the epoch), and goes to wandb under the same names (offline without a key; `wandb sync RUN/wandb/offline-*`
uploads later). After a resume a step can occur twice: the later line is what happened.
"""


def pages() -> dict[Path, str]:
    """Every generated page: where it lies, and what it must hold."""
    return {DOCS / "configuration.md": configuration_page(), DOCS / "metrics.md": metrics_page()}


def configuration_page() -> str:
    """All sections and fields with type, default and meaning."""
    parts = [CONFIGURATION]
    for name, field in RunConfig.model_fields.items():
        parts += _section(name, field.annotation)
    return "\n".join(parts) + "\n"


def metrics_page() -> str:
    """All metrics by panel."""
    parts = [METRICS_PAGE]
    for panel, question in PANELS.items():
        parts += [f"## {panel}", "", f"{question}.", "", "| metric | unit | meaning |", "|---|---|---|"]
        parts += [f"| `{m.name}` | {m.unit} | {m.meaning} |" for m in METRICS.values() if m.panel == panel]
        parts.append("")
    return "\n".join(parts)


def _section(path: str, section: Any) -> list[str]:
    """One section as a table, then the sections inside it."""
    notes = attribute_docstrings(section)
    summary = (inspect.getdoc(section) or "").partition("\n")[0]
    parts = [f"## [{path}]", "", summary, "", "| field | type | default | meaning |", "|---|---|---|---|"]
    inner: list[str] = []
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            inner += _section(f"{path}.{name}", field.annotation)
            continue
        cells = (f"`{name}`", _type(field), _default(field), notes.get(name, ""))
        parts.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return [*parts, "", *inner]


def _type(field: FieldInfo) -> str:
    """The type, and the bounds that values must keep."""
    kind: Any = field.annotation
    shown = _name(kind)
    bounds = []
    for bound in field.metadata:
        for attribute, sign in (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<=")):
            if getattr(bound, attribute, None) is not None:
                value = getattr(bound, attribute)
                bounds.append(f"{sign} {value if isinstance(value, int) else format(value, 'g')}")
    return f"{shown} {' and '.join(bounds)}".strip()


def _name(kind: Any) -> str:
    """A type in words; of an annotated one what is annotated."""
    arguments = get_args(kind)
    match get_origin(kind):
        case builtins.tuple:
            return f"list of {_name(arguments[0])}"
        case builtins.dict:
            return f"table of {_name(arguments[1])}"
        case None:
            return str(kind.__name__)
        case typing.Literal:
            return " or ".join(f"`{json.dumps(choice)}`" for choice in arguments)
    return _name(arguments[0])


def _default(field: FieldInfo) -> str:
    return (
        "required" if field.is_required() else f"`{json.dumps(field.get_default(call_default_factory=True))}`"
    )


def attribute_docstrings(section: type[BaseModel]) -> dict[str, str]:
    """The string below each field of a section and of the sections it extends, on one line."""
    notes: dict[str, str] = {}
    for kind in reversed(section.__mro__):
        if not (issubclass(kind, BaseModel) and kind is not BaseModel):
            continue
        body = ast.parse(inspect.getsource(kind)).body[0]
        assert isinstance(body, ast.ClassDef)
        for node, following in zip(body.body, body.body[1:], strict=False):
            if (
                isinstance(node, ast.AnnAssign)
                and isinstance(node.target, ast.Name)
                and isinstance(following, ast.Expr)
                and isinstance(following.value, ast.Constant)
            ):
                notes[node.target.id] = " ".join(str(following.value.value).split())
    return notes


def main() -> None:
    """Write every page."""
    DOCS.mkdir(exist_ok=True)
    for file, text in pages().items():
        file.write_text(text)
        print(f"pronghorn: wrote {file}")


if __name__ == "__main__":
    main()
