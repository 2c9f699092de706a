"""Whether searches see the index that was compared, and only what is live in it. Pure."""

import json
from collections.abc import Mapping
from typing import Any

from worker.schema import alias_body
from worker.tables import Table


def judge_alias(table: Table[Any], index: str, aliases: Mapping[str, Any]) -> str:
    """What is wrong with the alias that readers use; empty if nothing is.

    aliases: of the index, as the cluster shows them.
    """
    if table.alias not in aliases:
        return f"the alias {table.alias} does not lead to {index}: searches do not see it"
    if aliases[table.alias].get("filter") != alias_body()["filter"]:
        return (
            f"the alias {table.alias} has not the filter that hides deleted and hidden documents:"
            " searches find them"
        )
    return ""


def write_remedy(table: Table[Any], index: str) -> str:
    """The request that mends it."""
    add = {"add": {"index": index, "alias": table.alias, **alias_body()}}
    return f"POST /_aliases {json.dumps({'actions': [add]})}"
