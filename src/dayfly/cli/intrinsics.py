"""CloudFormation's intrinsic functions, as far as they can be told without deploying: values in place of {"Ref": ...} and its like.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference.html
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

PSEUDO = {
    "AWS::Region": "us-east-1",
    "AWS::AccountId": "000000000000",
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::StackId": "arn:aws:cloudformation:us-east-1:000000000000:stack/dayfly",
}
NOTHING = "AWS::NoValue"  # takes away the property that it is the value of


class Unresolved(Exception):
    """A function whose value only a deployment tells; the text names it."""


class Resolver:
    """`reference(name)` and `attribute(name, attribute)` tell of resources. Raises Unresolved."""

    def __init__(
        self,
        known: dict[str, Any],
        mappings: dict[str, Any],
        conditions: dict[str, Any],
        reference: Callable[[str], Any],
        attribute: Callable[[str, str], Any],
    ) -> None:
        """`known`: values of parameters and pseudo parameters."""
        self._known = known
        self._mappings = mappings
        self._conditions = conditions
        self._reference = reference
        self._attribute = attribute

    def __call__(self, value: Any) -> Any:
        if isinstance(value, list):
            return [made for made in map(self, value) if made is not NOTHING]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            [(name, argument)] = value.items()
            if name in ("Ref", "Condition") or str(name).startswith("Fn::"):
                return self._function(str(name), argument)
        made = {name: self(item) for name, item in value.items()}
        return {name: item for name, item in made.items() if item is not NOTHING}

    def holds(self, condition: Any) -> bool:
        """Whether a condition of the template holds, by its name or as a function."""
        if isinstance(condition, str):
            if condition not in self._conditions:
                raise Unresolved(f"Condition {condition}")
            condition = self._conditions[condition]
        return bool(self(condition))

    def _function(self, name: str, argument: Any) -> Any:
        try:
            return self._value(name, argument)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            raise Unresolved(f"{name} of {argument!r}"[:120]) from None

    def _value(self, name: str, argument: Any) -> Any:
        match name:
            case "Ref":
                return self._known_or(str(argument))
            case "Condition":
                return self.holds(str(argument))
            case "Fn::GetAtt":
                logical, attribute = argument.split(".", 1) if isinstance(argument, str) else argument
                return self._attribute(logical, str(self(attribute)))
            case "Fn::Sub":
                text, extra = (argument, {}) if isinstance(argument, str) else argument
                return re.sub(r"\$\{([^}]*)\}", lambda found: self._substituted(found[1], extra), text)
            case "Fn::Join":
                return str(argument[0]).join(str(self(item)) for item in self(argument[1]))
            case "Fn::Split":
                return str(self(argument[1])).split(str(argument[0]))
            case "Fn::Select":
                return self(argument[1])[int(self(argument[0]))]
            case "Fn::FindInMap":
                first, second, third = (str(self(item)) for item in argument)
                return self._mappings[first][second][third]
            case "Fn::If":
                return self(argument[1] if self.holds(argument[0]) else argument[2])
            case "Fn::Equals":
                return str(self(argument[0])) == str(self(argument[1]))
            case "Fn::And":
                return all(self.holds(each) for each in argument)
            case "Fn::Or":
                return any(self.holds(each) for each in argument)
            case "Fn::Not":
                return not self.holds(argument[0])
        raise Unresolved(name)

    def _substituted(self, name: str, extra: dict[str, Any]) -> str:
        if name.startswith("!"):  # an escaped ${...}
            return "${" + name[1:] + "}"
        name = name.strip()
        if name in extra:
            return str(self(extra[name]))
        logical, dot, attribute = name.partition(".")
        return str(self._attribute(logical, attribute) if dot else self._known_or(name))

    def _known_or(self, name: str) -> Any:
        if name == NOTHING:
            return NOTHING
        return self._known[name] if name in self._known else self._reference(name)
