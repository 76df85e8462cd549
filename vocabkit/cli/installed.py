"""`vocabkit plugins`: what is installed, and what is broken."""

from __future__ import annotations

import click

from vocabkit import console
from vocabkit.cli import options
from vocabkit.plugins import Registry


@click.command()
@options.as_json
@click.pass_obj
def plugins(registry: Registry, as_json: bool) -> int:
    """List the plugins, what each offers, and why a broken one does not load.

    VOCABKIT_PLUGINS=a,b loads only those (and the core); VOCABKIT_PLUGINS= loads the core alone.
    """
    rows = [
        {
            "name": plugin.name,
            "distribution": plugin.distribution,
            "version": plugin.version,
            "module": plugin.module,
            "offers": plugin.offers,
            "error": plugin.error,
        }
        for plugin in registry.plugins
    ]
    broken = [plugin for plugin in registry.plugins if plugin.error]
    if as_json:
        console.result_json(rows)
        return 1 if broken else 0
    for plugin in registry.plugins:
        console.result(f"{plugin.name} ({plugin.distribution} {plugin.version})")
        console.result(f"    {'BROKEN: ' + plugin.error if plugin.error else ', '.join(plugin.offers)}")
    for plugin in broken:
        console.note(f"note: update or uninstall {plugin.distribution}; everything else works without it")
    return 1 if broken else 0
