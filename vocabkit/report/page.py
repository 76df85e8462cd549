"""One HTML file about an extended tokenizer or model: it asks nobody for anything."""

from __future__ import annotations

import base64
import hashlib
import re
from html import escape
from importlib.resources import files

from vocabkit.report import figures, tokens
from vocabkit.report.facts import Facts
from vocabkit.report.visible import as_line, as_text

# Changed lines to see at once, and in all; failing items of one guarantee.
AT_ONCE, MOST_LINES, MOST_ITEMS = 4, 60, 200
# Longer ones say no more.
ITEM_CHARACTERS = 300


def render_page(facts: Facts) -> str:
    """Return the whole page; everything that comes from a tokenizer is escaped."""
    template = files("vocabkit.report").joinpath("page.html").read_text(encoding="utf-8")
    script = template[template.index("<script>") + len("<script>") : template.rindex("</script>")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    data, listed = tokens.tokens_json(facts)
    values = {
        "policy": f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'",
        "title": as_line(facts.name),
        "plain_title": escape(as_text(facts.name)),
        "lead": _lead(facts),
        "tiles": _tiles(facts),
        "contents": _contents(facts),
        "certificate": _certificate(facts),
        "made": _made(facts),
        "lines": _lines(facts),
        "curve": figures.curve_html(facts),
        "tokens_lead": _tokens_lead(facts, listed),
        "table_class": tokens.table_class(facts),
        "rows": tokens.table_html(facts),
        "listed": f"{listed:,}",
        "listing": tokens.listing_html(facts, listed),
        "bars": figures.bars_html(facts),
        "runs": figures.runs_html(facts.runs),
        "data": data,
    }
    # In one pass, so that no token can name a place of the template.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], template)


def _lead(facts: Facts) -> str:
    language = f" for {escape(facts.language)}" if facts.language else ""
    what = "model" if facts.has_weights else "tokenizer"
    return f"The {what} {as_line(facts.base_name)}, extended{language} by {len(facts.tokens):,} tokens"


def _tiles(facts: Facts) -> str:
    number = len(facts.certificate["checks"])
    failed = facts.failed
    per_character = facts.per_character()
    tiles = [_tile(f"{facts.base_size:,} → {facts.size:,}", f"tokens, in {facts.rows:,} rows", "tokens")]
    if per_character:
        before, after = per_character
        tiles.append(
            _tile(
                f"{before:.3f} → {after:.3f}",
                f"tokens per character, {figures.change(before, after)} on {_texts(facts)}",
                "texts",
            )
        )
    verdict = f"{len(failed)} of {number} fail" if failed else f"all {number} hold"
    tiles += [
        _tile(verdict, f"guarantees{': ' + ' '.join(failed) if failed else ''}", "certificate", bad=bool(failed)),
        _tile(f"{len(facts.dead):,} dead", "new tokens that can never be produced", "tokens", bad=bool(facts.dead)),
        _tile(
            f"{len(facts.english):,} of {facts.num_english}",
            "English lines changed",
            "lines",
            bad=bool(facts.english) and not facts.may_drift,
        ),
    ]
    return "".join(tiles)


def _tile(figure: str, words: str, section: str, bad: bool = False) -> str:
    said = f'<a href="#{section}">{escape(words)}</a>'
    return f"<li{' class=bad' if bad else ''}><b>{escape(figure)}</b> <span>{said}</span></li>"


def _contents(facts: Facts) -> str:
    names = [("certificate", "Certificate"), ("lines", "Before and after"), ("size", "Size curve")]
    names += [("tokens", "New tokens"), ("texts", "Texts and scripts")]
    names += [("runs", "Training")] if facts.runs else []
    return " ".join(f'<a href="#{name}">{title}</a>' for name, title in names)


def _certificate(facts: Facts) -> str:
    rows = []
    for check in facts.certificate["checks"]:
        items = [str(item) for item in check.get("items", [])]
        listed = ""
        if not check["ok"] and items:
            shown = "".join(f"<li><bdi>{as_line(item[:ITEM_CHARACTERS])}</bdi></li>" for item in items[:MOST_ITEMS])
            more = f"<p>Of {len(items):,} that were kept.</p>" if len(items) > MOST_ITEMS else ""
            listed = f"<details><summary>What fails: {min(len(items), MOST_ITEMS)} examples</summary>"
            listed += f"<ul>{shown}</ul>{more}</details>"
        verdict = "<td>ok</td>" if check["ok"] else '<td class="fail">FAIL</td>'
        rows.append(
            f'<tr><th scope="row">{escape(str(check["name"]))}</th>{verdict}'
            f"<td>{as_line(str(check['title']))}<small>{as_line(str(check['detail']))}</small>{listed}</td></tr>"
        )
    source = "as stored beside the files" if facts.is_stored else "checked for this page"
    return f'<p>Compared with {as_line(facts.base_name)}, {source}.</p><table class="checks">{"".join(rows)}</table>'


def _made(facts: Facts) -> str:
    """Return how the folder was made, as its manifest says."""
    if not facts.manifest:
        return "<p>The folder has no vocabkit.json, which would say how it was made.</p>"
    rows = [("command", f"vocabkit {facts.manifest.get('command', '?')}"), *facts.made_by()]
    items = "".join(f"<dt>{as_line(name)}</dt><dd>{as_line(value)}</dd>" for name, value in rows)
    return f"<details><summary>How it was made</summary><dl>{items}</dl></details>"


def _lines(facts: Facts) -> str:
    parts = []
    if facts.english:
        limit = facts.manifest.get("arguments", {}).get("max_drift")
        kind = "" if facts.may_drift else ' class="bad"'
        allowed = f" At most {limit:.2%} may: the two languages share their script." if limit else ""
        parts.append(
            f"<h3{kind}>Changed English lines</h3><p>{len(facts.english):,} of {facts.num_english} lines of English "
            f'are cut otherwise than before; <span class="key-box m">old tokens</span> that the other side does not '
            f"have there are underlined in orange.{allowed}</p>"
        )
        parts.append(tokens.side_by_side_html(facts.english[:AT_ONCE], "en", moved=True))
        rest = facts.english[AT_ONCE:MOST_LINES]
        if rest:
            parts.append(f"<details><summary>{len(facts.english) - AT_ONCE:,} more changed lines</summary>")
            parts.append(f"{tokens.side_by_side_html(rest, 'en', moved=True)}</details>")
    else:
        parts.append(f"<p>All {facts.num_english} English lines are cut exactly as before.</p>")
    for title, pairs in (("Gained least", facts.worst), ("Gained most", facts.best)):
        if pairs:
            parts.append(f"<h3>{title}</h3>{tokens.side_by_side_html(pairs, facts.code)}")
    if not facts.worst:
        parts.append("<p>No text of the language was given; name one with --text.</p>")
    return "".join(parts)


def _tokens_lead(facts: Facts, listed: int) -> str:
    number = len(facts.tokens)
    text = f"<p>{facts.used:,} of {number:,} new tokens stand in {escape(_texts(facts))}."
    if listed < number:
        text += f" The first {listed:,} are listed here; vocabulary.jsonl has them all."
    if facts.nearest:
        text += f" Rows of the {len(facts.nearest):,} most frequent ones are compared with the old rows, by cosine."
    text += "</p>"
    if facts.dead:
        words = f"{len(facts.dead):,} of them can never be produced"
        text += f'<h3 class="bad">{words}</h3>{tokens.dead_html(facts.dead, facts.code)}'
    else:
        text += "<p>Every one of them can be produced.</p>"
    return text


def _texts(facts: Facts) -> str:
    names = [text.name for text in facts.texts]
    return as_text(names[0]) if len(names) == 1 else f"{len(names)} texts"
