"""Hypothesis strategies made from the schemas of the description: values that fit, and values that do not."""

from typing import Any

from hypothesis import strategies as st

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=30)
    | st.sampled_from(["", "\ud800", "\x00", "../..", "a" * 300, "9" * 5000]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def fitting(
    schema: dict[str, Any], definitions: dict[str, Any], known: dict[str, list[Any]]
) -> st.SearchStrategy:
    """Values that the schema allows; a property named in `known` is often one of the values given there."""
    if "$ref" in schema:
        return fitting(definitions[schema["$ref"].rpartition("/")[2]], definitions, known)
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema["type"]:
        case "object":
            fields = {
                name: (st.sampled_from(known[name]) if name in known else st.nothing())
                | fitting(field, definitions, known)
                for name, field in schema["properties"].items()
            }
            required = schema.get("required", ())
            return st.fixed_dictionaries(
                {name: value for name, value in fields.items() if name in required},
                optional={name: value for name, value in fields.items() if name not in required},
            )
        case "array":
            items = fitting(schema["items"], definitions, known)
            return st.lists(items, min_size=schema.get("minItems", 0), max_size=4)
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(schema.get("minimum", -(2**63)), schema.get("maximum", 2**63 - 1))
        case "string":
            return st.text(
                st.characters(codec="utf-8"),
                min_size=schema.get("minLength", 0),
                max_size=min(schema.get("maxLength", 40), 40),
            )
    raise ValueError(f"{schema}: no strategy for this")


def broken(values: st.SearchStrategy) -> st.SearchStrategy:
    """Objects with one field dropped, replaced by anything, or added; or no object at all."""

    @st.composite
    def changed(draw: st.DrawFn) -> Any:
        value = dict(draw(values))
        name = draw(st.sampled_from([*value, "another"]))
        if draw(st.booleans()):
            value.pop(name, None)
        else:
            value[name] = draw(anything)
        return value

    return changed() | anything
