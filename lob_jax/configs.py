"""The bundled configurations, as submodules: `from lob_jax.configs import base`.

In a checkout their files are next to this package, in `configs/`; in an installation they are inside it. Python treats
a module with a `__path__` as a package, so the same import works in both cases.
"""

import pathlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a type checker does not follow `__path__`

    def __getattr__(name: str) -> Any: ...


_PACKAGE = pathlib.Path(__file__).resolve().parent
_PLACES = (_PACKAGE / "configs", _PACKAGE.parent / "configs")  # of an installation, of a checkout
FOLDER = next((place for place in _PLACES if (place / "base.py").is_file()), _PLACES[0])
__path__ = [str(FOLDER)]


def bundled() -> dict[str, pathlib.Path]:
    """Return the file of each bundled configuration, by its name."""
    return {file.stem: file for file in sorted(FOLDER.glob("*.py"))}
