"""What each real service is made of."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).with_name("java")
# Raise it when the way of assembling changes, so that caches of older checkouts are not used.
LAYOUT = b"1"


@dataclass(frozen=True, slots=True)
class Artefact:
    """A service as Maven brings it: its version and the oldest Java that runs it.

    `launcher`: Launcher.java beside the pom.xml starts it, compiled for that Java. `modules`: it
    wants the folders of an Elasticsearch distribution.
    """

    name: str
    version: str
    java: int
    launcher: bool = False
    modules: bool = False

    @property
    def source(self) -> Path:
        """The folder that holds its pom.xml and, if any, its launcher."""
        return SOURCES / self.name

    @property
    def folder(self) -> str:
        """Its folder in the cache: another recipe is another folder, so none is ever updated."""
        digest = hashlib.sha256(LAYOUT)
        for file in sorted(self.source.iterdir()):
            digest.update(file.read_bytes())
        return f"{self.name}-{self.version}-{digest.hexdigest()[:12]}"


SERVICES: dict[str, Artefact] = {
    artefact.name: artefact
    for artefact in (
        Artefact("dynamodb-local", "3.3.1", java=17, launcher=True),
        Artefact("elasticmq", "1.6.14", java=17),
        Artefact("elasticsearch-8", "8.17.0", java=17, launcher=True, modules=True),
        Artefact("elasticsearch-9", "9.0.4", java=21, launcher=True, modules=True),
    )
}
