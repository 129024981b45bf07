"""Examples made from JSON schemas: what a person reads beside the description of a body or an answer."""

from typing import Any

from pydantic import BaseModel


def example(kind: type[BaseModel]) -> Any:
    """JSON values that the model accepts: its required fields, and those with an example of their own."""
    schema = kind.model_json_schema()
    return _value(schema, schema.get("$defs", {}))


def _value(schema: dict[str, Any], definitions: dict[str, Any]) -> Any:
    if "$ref" in schema:
        return _value(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "examples" in schema:
        return schema["examples"][0]
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    match schema["type"]:
        case "object":
            return _fields(schema, definitions)
        case "array":
            # One of each kind that may stand in it.
            items = schema["items"]
            return [_value(item, definitions) for item in items.get("anyOf", [items])]
        case "boolean":
            return False
    raise ValueError(f"{schema}: a field of this type needs an example of its own")


def _fields(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    required = schema.get("required", ())
    return {
        name: _value(field, definitions)
        for name, field in schema["properties"].items()
        if name in required or "examples" in field
    }
