"""Registries: a folder whose modules define one entry each, found by listing the folder.

The name of a module is the name of its entry, as a user writes it in a configuration. Names therefore cost no import:
a module is imported when its entry is asked for. There is no list to keep, so nothing in the folder can be forgotten.
"""

import difflib
import importlib
import pathlib
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from lob_jax.errors import InputError

PACKAGE = pathlib.Path(__file__).parent

Entry = TypeVar("Entry")


class Registry(Generic[Entry]):
    """The entries of one folder, by name: `name in registry`, `list(registry)`, `registry[name]`.

    Args:
      noun: what an entry is, in an error: "feed".
      files: where the modules lie, a pattern below `lob_jax/` with one asterisk, which stands for the name:
        "models/attention/kinds/*.py".
      attribute: what every module calls its entry, such as "KIND".
      of: the type of the entries.
      where: the configuration key that takes a name, for errors.
      first: names that are listed first, in this order; all others follow in alphabetical order.
    """

    def __init__(
        self, noun: str, *, files: str, attribute: str, of: type[Entry], where: str, first: tuple[str, ...] = ()
    ):
        self.noun, self.files, self.attribute, self.of = noun, files, attribute, of
        self.where, self.first = where, first
        self._entries: dict[str, Entry] = {}

    def names(self) -> tuple[str, ...]:
        """Return the names of the entries; imports none of them."""
        before, after = self.files.split("*")
        paths = (path.relative_to(PACKAGE).as_posix() for path in PACKAGE.glob(self.files))
        found = {path.removeprefix(before).removesuffix(after) for path in paths}
        found = {name for name in found if not name.startswith("_")}
        return (*(name for name in self.first if name in found), *sorted(found - {*self.first}))

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self.names())

    def __len__(self) -> int:
        """Return how many entries there are."""
        return len(self.names())

    def __contains__(self, name: object) -> bool:
        """Return whether there is an entry of this name; imports nothing."""
        return name in self.names()

    def __getitem__(self, name: str) -> Entry:
        """Import the module of an entry and return the entry.

        Raises:
          InputError: there is none of this name; names the one that was probably meant.
          TypeError: the module does not define its entry.
        """
        if name in self._entries:  # spares the folder's listing: models ask for their kind's settings at every step
            return self._entries[name]
        if name not in self:
            raise self.unknown(name)
        module = importlib.import_module(self.module_of(name))
        entry = getattr(module, self.attribute, None)
        if not isinstance(entry, self.of):
            raise TypeError(
                f"{module.__name__} defines no {self.attribute} of type {self.of.__name__}, though it lies where every "
                f"module is a {self.noun} (lob_jax/{self.files}); docs/extending.md shows how"
            )
        self._entries[name] = entry
        return entry

    def module_of(self, name: str) -> str:
        """Return the dotted name of an entry's module."""
        return ".".join(["lob_jax", *self.files.removesuffix(".py").replace("*", name).split("/")])

    def items(self) -> list[tuple[str, Entry]]:
        """Import every module and return the entries by name."""
        return [(name, self[name]) for name in self]

    def unknown(self, name: object, *, where: str = "", also: Iterable[str] = ()) -> InputError:
        """Return the error for a name that no entry has.

        Args:
          name: the name.
          where: it was given; the registry's own key if empty.
          also: names that are allowed there, though they are no entries.
        """
        names = [*self.names(), *also]
        meant = difflib.get_close_matches(str(name), names, n=1)
        return InputError(
            f"no such {self.noun}",
            where=where or self.where,
            expected=" | ".join(names),
            was=name,
            remedy=f"did you mean {meant[0]}?" if meant else "choose one of these",
        )
