"""The end of a command's help: examples to copy, and what its exit codes mean."""


def write_epilog(*examples: str, codes: str, more: str = "") -> str:
    """The epilog of a click command.

    examples: whole command lines. codes: what 0, 1 and 2 mean. more: where to read on.
    """
    lines = "\n".join(f"  {example}" for example in examples)
    title = "Example:" if len(examples) == 1 else "Examples:"
    end = f"\n\n{more}" if more else ""
    # \b keeps click from wrapping the block that follows.
    return f"\b\n{title}\n{lines}\n\nExit codes: {codes}.{end}"
