"""What a check found, for people and for programs."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from console.check.engine import Tried
from console.check.judge import Finding
from console.check.trial import Group
from console.check.weigh import Messages, Sizes

SHOWN: Final = 20
EMBEDDED: Final = (
    "The embedded engine accepts more than Elasticsearch does; before a deploy, check against a"
    " cluster: set SLUICE_ELASTICSEARCH_URL."
)


@dataclass(frozen=True, slots=True)
class Report:
    """The check of one table."""

    table: str
    engine: str
    embedded: bool
    source: str
    """Where the items came from; empty if none were tried."""
    items: int
    tried: Tried
    groups: tuple[Group, ...]
    hidden: tuple[str, ...]
    repeated: int
    hashed: int
    documents: Sizes | None
    messages: Messages | None
    findings: tuple[Finding, ...]
    lossy: int = 0
    """Items with attributes that neither their model declares nor their document has."""
    lost: tuple[str, ...] = ()
    """Those attributes."""
    unchecked: str = ""
    """Why DynamoDB's own table was not looked at; empty if it was."""

    @property
    def fine(self) -> bool:
        """Whether nothing was found that is wrong."""
        wrong = any(one.level == "wrong" for one in self.findings)
        return not (self.tried.refused or self.groups or wrong)


def describe(report: Report) -> dict[str, Any]:
    """For programs."""
    return {
        "table": report.table,
        "fine": report.fine,
        "engine": "embedded" if report.embedded else "cluster",
        "engine_name": report.engine,
        "declaration_refused": report.tried.refused or None,
        "items": {
            "source": report.source or None,
            "tried": report.items,
            "indexed": report.tried.indexed,
            "refused": sum(group.count for group in report.groups),
            "hidden": len(report.hidden),
            "repeated": report.repeated,
            "ids_hashed": report.hashed,
        },
        "refusals": [asdict(group) for group in report.groups],
        "hidden_example": report.hidden[0] if report.hidden else None,
        "document_bytes": asdict(report.documents) if report.documents else None,
        "messages": asdict(report.messages) if report.messages else None,
        "undeclared_fields": dict(report.tried.added or {}),
        "lost_attributes": {"items": report.lossy, "names": list(report.lost)},
        "table_unchecked": report.unchecked or None,
        "findings": [asdict(finding) for finding in report.findings],
    }


def write_lines(report: Report) -> Iterator[str]:
    """For people, a fact a line."""
    yield f"{report.table}, checked on {report.engine}"
    if report.embedded:
        yield f"  {EMBEDDED}"
    yield from _write_declaration(report)
    yield from _write_items(report)
    yield from _write_sizes(report)
    if report.unchecked:
        yield f"  note  the table itself was not looked at: {report.unchecked}"
    for finding in report.findings:
        yield f"  {finding.level}  {finding.what}"
        if finding.remedy:
            yield f"        → {finding.remedy}"
    yield "  fine" if report.fine else "  found something wrong"


def _write_declaration(report: Report) -> Iterator[str]:
    if report.tried.refused:
        yield "  wrong the mappings or settings are refused:"
        yield f"        {report.tried.refused}"
        if report.items:
            yield "        no document was tried on them"
    else:
        yield "  mappings and settings are taken"


def _write_items(report: Report) -> Iterator[str]:
    if not report.source:
        yield "  no items were tried: --items 200 takes some from the table, --file from a file"
        return
    yield (
        f"  {report.items:,} items of {report.source}: {report.tried.indexed:,} indexed,"
        f" {sum(group.count for group in report.groups):,} refused, {len(report.hidden):,} hidden"
    )
    for group in report.groups[:SHOWN]:
        yield f"  wrong {group.count:,} refused, {group.error}, for example {group.key}"
        yield f"        {group.reason}"
    if len(report.groups) > SHOWN:
        yield f"        … and {len(report.groups) - SHOWN:,} more reasons: --json lists all"
    if report.hidden:
        yield f"  note  hidden by the document function, for example {report.hidden[0]}"
    if report.repeated:
        yield f"  note  {report.repeated:,} items repeat the key of another; they were left out"
    if report.hashed:
        yield f"  note  {report.hashed:,} keys are too long for an id; theirs are hashes"
    if report.lost:
        yield (
            f"  note  {report.lossy:,} items have attributes that neither the model declares nor"
            f" the document has: {_name(report.lost)}"
        )
        yield "        → dump(item) of worker.tables keeps them, item.model_dump() does not"
    added = report.tried.added or {}
    if added:
        named = _name([f"{path} ({kind})" for path, kind in added.items()])
        yield f"  note  fields that no mapping declares: {named}"


def _name(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _write_sizes(report: Report) -> Iterator[str]:
    sizes, messages = report.documents, report.messages
    if sizes is not None:
        yield (
            f"  documents: half up to {sizes.p50:,} bytes, 99 % up to {sizes.p99:,}, the largest"
            f" {sizes.most:,}"
        )
    if messages is not None:
        size = messages.bytes
        yield (
            f"  messages: {messages.changes:,} changes in {size.count:,}, half up to"
            f" {size.p50:,} bytes, the largest {size.most:,};"
            f" {messages.claim_checks:,} changes through S3"
        )
        if messages.unsendable:
            yield f"  note  {messages.unsendable:,} items fit no message: DynamoDB has none such"
