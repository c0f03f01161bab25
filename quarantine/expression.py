"""The one wrapper around CEL: a condition is true or it is nothing.

The engine's result for a failed evaluation is a value, and a truthy one. So a condition holds only if the result's
type is BOOL and its value is True; an error, a missing key or any other type never makes a playbook answer.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from quarantine.errors import Misconfigured

_VARIABLES = ("finding", "resource")
LONGEST = 2000


@cache
def _environment() -> Any:
    from cel_expr_python import cel

    record = cel.Type.Map(cel.Type.STRING, cel.Type.DYN)
    return cel.NewEnv(variables=dict.fromkeys(_VARIABLES, record))


class Condition:
    """A compiled `when:`. It sees `finding` and `resource`, both as maps of plain JSON values."""

    def __init__(self, text: str) -> None:
        """Raises Misconfigured if the text does not compile to a boolean."""
        if len(text) > LONGEST:
            raise Misconfigured(f"a condition has at most {LONGEST} characters, this one {len(text)}")
        try:
            self._program = _environment().compile(text)
        except Exception as error:  # the binding raises bare RuntimeError and ValueError
            raise Misconfigured(f"not a valid condition: {_first_line(error)}") from error
        kind = self._program.return_type().name()
        if kind not in ("BOOL", "DYN"):
            raise Misconfigured(f"a condition must be true or false; this one gives {kind}")
        self.text = text

    def holds(self, finding: Mapping[str, Any], resource: Mapping[str, Any]) -> tuple[bool, str]:
        """(does it hold, why not). Never raises: what cannot be evaluated does not hold, and says so."""
        from cel_expr_python import cel

        try:
            result = self._program.eval(data={"finding": finding, "resource": resource})
        except Exception as error:  # noqa: BLE001 - beyond its iteration budget the binding raises a bare RuntimeError
            return False, f"cannot be evaluated ({_first_line(error)}): {self.text}"
        if result.type() == cel.Type.BOOL:
            return (True, "") if result.value() is True else (False, f"false: {self.text}")
        if result.type() == cel.Type.ERROR:
            return False, f"cannot be evaluated ({_first_line(result.value())}): {self.text}"
        return False, f"gave {result.type().name()}, not true or false: {self.text}"


def _first_line(problem: object) -> str:
    lines = str(problem).strip().splitlines()
    return lines[0].strip() if lines else "no reason given"
