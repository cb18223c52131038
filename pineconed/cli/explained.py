# SPDX-License-Identifier: Apache-2.0
"""Commands whose `--help` shows examples, as they are typed."""

from typing import Any

import click


def _write_examples(formatter: click.HelpFormatter, examples: tuple[str, ...]) -> None:
    with formatter.section("Examples"):
        for example in examples:
            formatter.write(f"{'':>{formatter.current_indent}}{example}\n")


class ExplainedCommand(click.Command):
    """A command with examples after its description."""

    def __init__(self, *args: Any, examples: tuple[str, ...] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the description and the examples."""
        super().format_help_text(ctx, formatter)
        _write_examples(formatter, self.examples)


class ExplainedGroup(click.Group):
    """A group with examples, its commands by what they are for, and notes at the end."""

    def __init__(
        self,
        *args: Any,
        examples: tuple[str, ...] = (),
        sections: dict[str, tuple[click.Command, ...]],
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples
        self.sections = sections
        for commands in sections.values():
            for command in commands:
                self.add_command(command)

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the description and the examples."""
        super().format_help_text(ctx, formatter)
        _write_examples(formatter, self.examples)

    def format_commands(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each section with one line for each command."""
        for title, commands in self.sections.items():
            with formatter.section(title):
                formatter.write_dl([(str(c.name), c.get_short_help_str(90)) for c in commands])
