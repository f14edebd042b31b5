"""Registries: a folder whose modules define one entry each, found by listing the folder.

The name of a module is the name of its entry, as a user writes it in a configuration. Names are therefore known without
imports: a module is imported when its entry is first used. There is no separate list that could become outdated.
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
      noun: what an entry is called in errors, such as "feed".
      files: the modules, as a pattern relative to `lob_jax/` in which an asterisk stands for the name, such as
        "models/attention/kinds/*.py".
      attribute: the variable of every module that is its entry, such as "KIND".
      of: the type of the entries.
      where: the configuration key whose value is a name, for errors.
      first: names that are listed first, in this order; the others follow in alphabetical order.
    """

    def __init__(
        self, noun: str, *, files: str, attribute: str, of: type[Entry], where: str, first: tuple[str, ...] = ()
    ):
        self.noun, self.files, self.attribute, self.of = noun, files, attribute, of
        self.where, self.first = where, first
        self._entries: dict[str, Entry] = {}

    def names(self) -> tuple[str, ...]:
        """Return the names of the entries, without importing any."""
        before, after = self.files.split("*")
        paths = (path.relative_to(PACKAGE).as_posix() for path in PACKAGE.glob(self.files))
        found = {path.removeprefix(before).removesuffix(after) for path in paths}
        found = {name for name in found if not name.startswith("_")}
        return (*(name for name in self.first if name in found), *sorted(found - {*self.first}))

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self.names())

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self.names())

    def __contains__(self, name: object) -> bool:
        """Return whether an entry has this name, without importing it."""
        return name in self.names()

    def __getitem__(self, name: str) -> Entry:
        """Import the module of an entry and return the entry.

        Raises:
          InputError: there is no such entry; suggests the one that was probably meant.
          TypeError: the module does not define its entry.
        """
        if name in self._entries:  # without listing the folder: models look up their kind's settings at every step
            return self._entries[name]
        if name not in self:
            raise self.unknown(name)
        module = importlib.import_module(self.module_of(name))
        entry = getattr(module, self.attribute, None)
        if not isinstance(entry, self.of):
            raise TypeError(
                f"{module.__name__} defines no {self.attribute} of type {self.of.__name__}, as every module of "
                f"lob_jax/{self.files} must; docs/extending.md shows how to add a {self.noun}"
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
        """Return the error for an unknown name.

        Args:
          name: the name.
          where: where it was given; if empty, the registry's key.
          also: further names that are allowed there.
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
