"""Find plugins, load them one by one, and collect what they offer.

A plugin is an entry point in the group `vocabkit` whose value is a module.  One that cannot be loaded is
kept, with its error, so that `vocabkit plugins` can name it; everything else works without it.
`VOCABKIT_PLUGINS=a,b` loads only those (and the core), `VOCABKIT_PLUGINS=` only the core.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from importlib import import_module
from importlib.metadata import Distribution, EntryPoint, entry_points
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import pluggy

from vocabkit import hookspecs
from vocabkit.errors import UnknownNameError, VocabkitError
from vocabkit.guarded import guard_command, guarded
from vocabkit.language import Language

if TYPE_CHECKING:
    import click

Offered = TypeVar("Offered")

GROUP = "vocabkit"
CORE = "core"
CORE_MODULE = "vocabkit.core_plugin"


@dataclass
class Plugin:
    """One plugin as found: its name, the distribution it came from, what it offers, or why it failed."""

    name: str
    module: str
    distribution: str
    version: str
    offers: list[str] = field(default_factory=list)
    error: str | None = None

    def __str__(self) -> str:
        return f"plugin {self.name!r} ({f'{self.distribution} {self.version}'.strip()})"


@dataclass
class Registry:
    """Everything the loaded plugins offer, by name."""

    plugins: list[Plugin] = field(default_factory=list)
    languages: dict[str, Language] = field(default_factory=dict)
    corpus_readers: dict[str, Callable[..., Any]] = field(default_factory=dict)
    learners: dict[str, Callable[..., Any]] = field(default_factory=dict)
    mergers: dict[str, Callable[..., Any]] = field(default_factory=dict)
    initializers: dict[str, Callable[..., Any]] = field(default_factory=dict)
    probes: dict[str, Callable[..., Any]] = field(default_factory=dict)
    # (kind, name) -> which two plugins offer it; whoever asks for it is told, everything else works.
    conflicts: dict[tuple[str, str], str] = field(default_factory=dict)
    _manager: pluggy.PluginManager = field(default_factory=lambda: pluggy.PluginManager(GROUP), repr=False)

    def language(self, code: str) -> Language:
        """Return the language registered as `code`; raises UnknownNameError with the nearest known code."""
        return self._get("language", self.languages, code)

    def learner(self, name: str) -> Callable[..., Any]:
        """Return the learner registered as `name`."""
        return self._get("learner", self.learners, name)

    def merger(self, name: str) -> Callable[..., Any]:
        """Return the merger registered as `name`."""
        return self._get("merger", self.mergers, name)

    def initializer(self, name: str) -> Callable[..., Any]:
        """Return the initialiser registered as `name`."""
        return self._get("initializer", self.initializers, name)

    def probe(self, name: str) -> Callable[..., Any]:
        """Return the probe registered as `name`."""
        return self._get("probe", self.probes, name)

    def add_commands(self, cli: click.Group) -> None:
        """Let every plugin add its commands to `cli`; a plugin that fails is reported, not raised."""
        for plugin in self.plugins:
            if plugin.error is None:
                known = dict(cli.commands)
                self._call(plugin, "register_commands", cli=cli)
                added = {name: command for name, command in cli.commands.items() if name not in known}
                plugin.offers += [f"command {name}" for name in added]
                if plugin.module != CORE_MODULE:
                    _guard_commands(cli, plugin, added)
                for name, command in known.items():
                    if cli.commands.get(name) is not command:
                        cli.commands[name] = command
                        plugin.error = f"command {name!r} is there already; rename it, or uninstall the other plugin"

    def _get(self, kind: str, table: Mapping[str, Offered], name: str) -> Offered:
        if (kind, name) in self.conflicts:
            raise DuplicateNameError(self.conflicts[kind, name])
        if name not in table:
            raise UnknownNameError(kind, name, table)
        return table[name]

    def _call(self, plugin: Plugin, hook: str, **arguments: Any) -> None:
        """Call one hook of one plugin: pluggy does not tell a callback who is calling."""
        others = [p for n, p in self._manager.list_name_plugin() if n != plugin.name and p is not None]
        try:
            self._manager.subset_hook_caller(hook, remove_plugins=others)(**arguments)
        except (Exception, SystemExit) as error:
            plugin.error = f"{hook} failed: {type(error).__name__}: {error}"


class DuplicateNameError(VocabkitError):
    """Two plugins offer the same name."""


def load_plugins(environ: Mapping[str, str] | None = None, extra: Mapping[str, object] | None = None) -> Registry:
    """Load the installed plugins and return what they offer.

    environ: where VOCABKIT_PLUGINS is read, `os.environ` by default.
    extra: further plugins by name (modules or objects with hook implementations), for tests and notebooks.
    A name that two plugins offer is an error of the second, and raised as DuplicateNameError where it is asked for.
    """
    registry = Registry()
    registry._manager.add_hookspecs(hookspecs)
    for entry_point in _chosen(os.environ if environ is None else environ):
        plugin = Plugin(entry_point.name, entry_point.value, *_distribution(entry_point.dist))
        try:
            loaded = entry_point.load()
        # Any exception at all may come out of somebody else's module, and must not take the others down.
        except (Exception, SystemExit) as error:
            plugin.error = f"cannot be imported: {type(error).__name__}: {error}"
            registry.plugins.append(plugin)
            continue
        _add(registry, plugin, loaded)
    for name, loaded in (extra or {}).items():
        _add(registry, Plugin(name, getattr(loaded, "__name__", repr(loaded)), "(given)", ""), loaded)
    return registry


@cache
def _distribution(distribution: Distribution | None) -> tuple[str, str]:
    """Return name and version; metadata is parsed anew whenever it is asked, and one package offers many plugins."""
    return (distribution.metadata["Name"], distribution.version) if distribution else ("?", "?")


def offered_languages(target: str, registry: Registry) -> list[Language]:
    """Return the language registered as `target`, or those that the module or file of that name offers.

    A module or file need not be installed as a plugin: an author checks it before packaging.
    Raises VocabkitError when it cannot be found or imported, or offers no language.
    """
    if target in registry.languages:
        return [registry.language(target)]
    path = Path(target)
    if path.suffix == ".py" and not path.is_file():
        raise VocabkitError(f"{target} does not exist; name a language's code, a module, or a Python file")
    # A relative name such as `..x` is no module, and a missing parent is as good as a missing module.
    if path.suffix != ".py" and not _is_module(target):
        raise UnknownNameError("language or module", target, registry.languages)
    try:
        loaded = _run_file(path) if path.suffix == ".py" else import_module(target)
    except (Exception, SystemExit) as error:
        raise VocabkitError(f"{target} cannot be imported: {type(error).__name__}: {error}; mend it first") from error
    checked = load_plugins({"VOCABKIT_PLUGINS": ""}, {target: loaded})
    if checked.plugins[-1].error:
        raise VocabkitError(f"{target}: {checked.plugins[-1].error}; mend it first")
    if not checked.languages:
        raise VocabkitError(
            f"{target} offers no language; call register(Language(...)) in register_languages, marked with @hookimpl"
        )
    return list(checked.languages.values())


def _refuse(message: str, *arguments: object, **options: object) -> NoReturn:
    raise DuplicateNameError(message)


def _guard_commands(cli: click.Group, plugin: Plugin, added: Mapping[str, object]) -> None:
    """Guard what `plugin` added; what is no command would break `vocabkit --help`, and is taken out again."""
    import click

    for name, command in added.items():
        if isinstance(command, click.Command):
            guard_command(command, f"command {name!r} of {plugin}", plugin.module)
        else:
            del cli.commands[name]
            plugin.error = f"register_commands failed: {command!r} is no command of click"


def _is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _run_file(path: Path) -> object:
    spec = spec_from_file_location(f"vocabkit_checked_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python module")
    module = module_from_spec(spec)
    # Dataclasses look their module up while they are made.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _chosen(environ: Mapping[str, str]) -> list[EntryPoint]:
    found = sorted(entry_points(group=GROUP), key=lambda point: (point.value != CORE_MODULE, point.name))
    limit = environ.get("VOCABKIT_PLUGINS")
    if limit is None:
        return found
    wanted = {name.strip() for name in limit.split(",") if name.strip()}
    unknown = wanted - {point.name for point in found}
    if unknown:
        raise UnknownNameError("plugin in VOCABKIT_PLUGINS", min(unknown), (point.name for point in found))
    return [point for point in found if point.name == CORE or point.name in wanted]


def _add(registry: Registry, plugin: Plugin, loaded: object) -> None:
    registry.plugins.append(plugin)
    # pluggy would refuse both, with a list of everything that it knows.
    if registry._manager.has_plugin(plugin.name) or registry._manager.is_registered(loaded):
        taken = next(p for p in registry.plugins if plugin.name == p.name or plugin.module == p.module)
        plugin.error = f"cannot be registered: {taken} has the same name or module; uninstall one of them"
        return
    try:
        registry._manager.register(loaded, name=plugin.name)
        registry._manager.check_pending()
    except Exception as error:
        plugin.error = f"cannot be registered: {type(error).__name__}: {error}"
        # Left in, its unknown hooks would be held against every plugin after it.
        if registry._manager.is_registered(loaded):
            registry._manager.unregister(loaded)
        return
    owners = {name: other for other in registry.plugins for name in other.offers}

    def keep(kind: str, table: dict[str, Any], name: str, thing: Any) -> None:
        offer = f"{kind} {name}"
        if name in table:
            other = owners.get(offer, plugin).name
            plugin.error = (
                f"{kind} {name!r} is offered by both plugin {other!r} and plugin {plugin.name!r}; "
                f"uninstall one, or choose with VOCABKIT_PLUGINS"
            )
            registry.conflicts[kind, name] = plugin.error
            if kind == "corpus reader":
                # Readers are looked up in the table itself.
                table[name] = partial(_refuse, plugin.error)
            return
        table[name] = thing
        plugin.offers.append(offer)

    def keep_function(kind: str, table: dict[str, Any], name: str, function: Any) -> None:
        if not isinstance(name, str) or not callable(function):
            raise TypeError(f"{name!r}, {function!r} is no name and function; register(name, function)")
        # What our own functions raise unexpectedly is a bug, and keeps its traceback.
        own = plugin.module == CORE_MODULE
        keep(kind, table, name, function if own else guarded(function, f"{kind} {name!r} of {plugin}", plugin.module))

    def keep_language(language: Language) -> None:
        if not isinstance(language, Language):
            raise TypeError(f"{language!r} is no Language; register(Language(...))")
        keep("language", registry.languages, language.code, language)

    registry._call(plugin, "register_languages", register=keep_language)
    tables = (
        ("corpus reader", registry.corpus_readers, "register_corpus_readers"),
        ("learner", registry.learners, "register_learners"),
        ("merger", registry.mergers, "register_mergers"),
        ("initializer", registry.initializers, "register_initializers"),
        ("probe", registry.probes, "register_probes"),
    )
    for kind, table, hook in tables:
        if plugin.error is None:
            registry._call(plugin, hook, register=partial(keep_function, kind, table))
