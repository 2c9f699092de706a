"""Table and index side by side: what a few items, or a few documents, differ in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from console.scan import TableReader
from console.verify.compare import compare, place_of, place_of_doc
from console.verify.documents import Located, find_docs
from console.verify.model import Finding
from console.verify.settle import batches
from console.verify.sums import Sums
from producer.contract import Item
from worker.cluster import Cluster
from worker.tables import Table

_DOCS: Final = 500


@dataclass
class Comparer:
    """Compares one table with one index. Safe in several threads."""

    table: Table[Any]
    reader: TableReader
    cluster: Cluster
    index: str
    content: bool = False

    def compare_items(self, items: Sequence[Item], sums: Sums | None = None) -> list[Finding]:
        """Items just read, against their documents. sums: takes in those that agree."""
        found: list[Finding] = []
        for some in batches(items, _DOCS):
            places = [place_of(self.table, self.reader.key_of(item)) for item in some]
            docs = find_docs(self.cluster, self.index, places, content=self.content)
            agreed: list[str] = []
            for place, item, doc in zip(places, some, docs, strict=True):
                finding = compare(self.table, place, item, doc, content=self.content)
                if finding is not None:
                    found.append(finding)
                elif doc is not None and doc.digest is not None:
                    agreed.append(doc.digest)
            if sums is not None:
                sums.add(agreed)
        return found

    def compare_docs(self, located: Sequence[Located]) -> list[Finding]:
        """Documents of the index that no item stands behind."""
        found: list[Finding] = []
        keyed = []
        for name, routing, doc in located:
            place = place_of_doc(self.table, name, routing, doc)
            if place.key is None:
                found.append(Finding("left over", place, None, doc.seq_no, "no key leads to it"))
            else:
                keyed.append((place, place.key, doc))
        items, _ = self.reader.read([key for _, key, _ in keyed], keys_only=True)
        for (place, _, doc), item in zip(keyed, items, strict=True):
            if item is None:
                found.append(Finding("left over", place, None, doc.seq_no))
        return found

    def look(self, findings: Sequence[Finding]) -> list[Finding | None]:
        """The same places now, items read after their documents; None where both sides agree."""
        places = [finding.place for finding in findings]
        docs = find_docs(self.cluster, self.index, places, content=self.content)
        items, _ = self.reader.read([place.key for place in places if place.key is not None])
        items_in_order = iter(items)
        seen: list[Finding | None] = []
        for place, doc in zip(places, docs, strict=True):
            if place.key is not None:
                item = next(items_in_order)
                seen.append(compare(self.table, place, item, doc, content=self.content))
            elif doc is None or doc.state == "deleted":
                seen.append(None)
            else:
                still = place_of_doc(self.table, place.id, place.routing, doc).key is None
                why = "no key leads to it"
                left = Finding("left over", place, None, doc.seq_no, why)
                seen.append(left if still else None)
        return seen
