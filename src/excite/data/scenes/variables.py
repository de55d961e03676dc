"""Which array of a file with several is the one that is meant."""

from collections.abc import Mapping
from pathlib import Path

from excite.errors import DataError, UsageError
from excite.registry import nearest

Shapes = Mapping[str, tuple[int, ...]]


def choose_variable(shapes: Shapes, variable: str | None, *, axes: int, where: Path) -> str:
    """Return the name of the array to read: the one asked for, else the only one with so many axes.

    Args:
        shapes: Name and shape of every numeric array.
        variable: What was asked for.
        axes: 3 for a cube, 2 for labels; an axis of length 1 counts for none.
        where: The file.

    Raises:
        UsageError: it has not what was asked for. DataError: none fits, or several do.
    """
    listed = ", ".join(f"{name} ({' x '.join(map(str, shape))})" for name, shape in shapes.items())
    listed = listed or "no numeric array"
    if variable is not None:
        if variable not in shapes:
            raise UsageError(f"there is no numeric array {variable!r}", where=where,
                             fix=f"{nearest(variable, list(shapes))}the file has {listed}")
        return variable
    fitting = [name for name, shape in shapes.items() if len([n for n in shape if n > 1]) == axes]
    if len(fitting) != 1:
        key, name = "variable" if axes == 3 else "label_variable", fitting[0] if fitting else "NAME"
        raise DataError(f"{'several arrays' if fitting else 'no array'} with {axes} axes", where=where,
                        why=f"the file has {listed}",
                        fix=f"choose one by scene.{key}={name} (of a cube to predict: --variable)" if shapes else None)
    return fitting[0]
