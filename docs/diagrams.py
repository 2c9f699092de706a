"""A grammar of the diagrams that the pages use: a small part of Mermaid. Pure.

Mermaid's own parser needs a browser. This one takes flowcharts and sequence diagrams, and of these
what is written here; anything else is a fault, so that no page shows an error where a diagram was.

Source: the Mermaid documentation, *Flowcharts: basic syntax* and *Sequence diagrams*.
"""

import re
from collections.abc import Callable, Iterator

_SHAPES = (
    r"\[\([^()\[\]{}]+\)\]",  # a cylinder
    r"\[\[[^()\[\]{}]+\]\]",  # a subroutine
    r"\(\[[^()\[\]{}]+\]\)",  # a stadium
    r"\(\([^()\[\]{}]+\)\)",  # a circle
    r"\[[^()\[\]{}]+\]",
    r"\([^()\[\]{}]+\)",
    r"\{[^()\[\]{}]+\}",
    r'\["[^"]+"\]',
    r'\{"[^"]+"\}',
)
_NODE = re.compile(rf"[A-Za-z][A-Za-z0-9_]*(?:{'|'.join(_SHAPES)})?")
_EDGE = re.compile(
    r"--+>(?:\|[^|]+\|)?|-\.+->(?:\|[^|]+\|)?|==+>(?:\|[^|]+\|)?|---+|--\s[^-|>]+\s-->|-\.\s[^.|>]+\s\.->"
)
_FLOW = re.compile(r"flowchart (?:TD|TB|BT|LR|RL)")
_SUBGRAPH = re.compile(r"subgraph [A-Za-z][A-Za-z0-9_]*(?:\[[^\[\]]+\])?")
_PARTICIPANT = re.compile(r"(?:participant|actor) (?P<name>\w+)(?: as .+)?")
_MESSAGE = re.compile(r"(?P<from>\w+)\s*(?:-->>|->>|-->|->|--x|-x|--\)|-\))[+-]?(?P<to>\w+): \S.*")
_NOTE = re.compile(r"Note (?:(?:left|right) of (?P<of>\w+)|over (?P<over>\w+(?:,\w+)?)): \S.*")
_BLOCK = re.compile(r"(?:loop|alt|opt|par|critical|break|rect)\b.*")
_BRANCH = re.compile(r"(?:else|and|option)\b.*")


def find_faults(text: str) -> list[str]:
    """What is wrong with a diagram, a line for each fault; empty if nothing is.

    Checked: the kind and its direction; that every line is a statement; that brackets of shapes,
    subgraphs and blocks are closed; that messages name declared participants.
    """
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("%%")]
    if not lines:
        return ["the diagram is empty"]
    head, *body = lines
    if not body:
        return ["the diagram has nothing but a head"]
    if _FLOW.fullmatch(head):
        return list(_check_nesting(body, _SUBGRAPH, _check_chain))
    if head == "sequenceDiagram":
        names = {m["name"] for line in body if (m := _PARTICIPANT.fullmatch(line))}
        return list(_check_nesting(body, _BLOCK, lambda line: _check_message(line, names)))
    return [f"no diagram that this project uses: {head!r:.60}"]


def _check_nesting(
    lines: list[str], opening: re.Pattern[str], check: Callable[[str], str | None]
) -> Iterator[str]:
    depth = 0
    for line in lines:
        if opening.fullmatch(line):
            depth += 1
        elif line == "end":
            depth -= 1
            if depth < 0:
                yield "an `end` that ends nothing"
                depth = 0
        elif fault := check(line):
            yield fault
    if depth:
        yield f"{depth} blocks without `end`"


def _check_chain(line: str) -> str | None:
    """A node, or nodes with edges between them; several nodes of one place are joined by `&`."""
    rest, wants_node = line, True
    while rest:
        match = (_NODE if wants_node else _EDGE).match(rest)
        if match is None:
            if not wants_node and rest.startswith("&"):
                rest, wants_node = rest[1:].lstrip(), True
                continue
            return f"no {'node' if wants_node else 'edge'} at {rest!r:.60}"
        rest, wants_node = rest[match.end() :].lstrip(), not wants_node
    return f"an edge that leads nowhere: {line!r:.60}" if wants_node else None


def _check_message(line: str, names: set[str]) -> str | None:
    if _PARTICIPANT.fullmatch(line) or _BRANCH.fullmatch(line):
        return None
    match = _MESSAGE.fullmatch(line) or _NOTE.fullmatch(line)
    if match is None:
        return f"no statement of a sequence diagram: {line!r:.60}"
    named = {name for group in match.groups() if group for name in group.split(",")}
    unknown = sorted(named - names)
    return f"{unknown[0]} is no declared participant" if unknown else None
