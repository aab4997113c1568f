"""YAML as plain data, read strictly: what a file can say is what JSON could, and no key stands there twice.

PyYAML's safe loader keeps the last of two equal keys in silence, follows aliases that repeat themselves into billions
of values, reads `2024-01-01` as a date that no record can hold, and fails in its own ways on crafted scalars. Here the
graph of nodes is measured before any value is made of it.
"""

from __future__ import annotations

from typing import Any

import yaml

from wtal_bench.files import MAX_DEPTH, unplain

MAX_VALUES = 100_000
"""Values a file may stand for, every alias written out; the longest shipped file has about 1,500."""


class YamlError(ValueError):
    """A text is no YAML this harness reads; says why and where, as a clause that a sentence can go on with."""


def parse_yaml(text: str) -> Any:
    """Read one YAML document of plain data.

    Raises:
        YamlError: saying what is wrong, and in which line; the caller adds which file it is.
    """
    try:
        loader = _Loader(text)
        try:
            node = _composed(loader)
            if node is None:
                return None
            _measure(node)
            value = loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise YamlError(f"it is no YAML: {_told(error)}") from error
    except yaml.YAMLError as error:
        raise YamlError(f"it is no YAML: {' '.join(str(error).split())}") from error
    problem = unplain(value)
    if problem:
        raise YamlError(problem)
    return value


def _composed(loader: _Loader) -> yaml.Node | None:
    try:
        return loader.get_single_node()
    except (YamlError, yaml.YAMLError):
        raise
    except (ValueError, LookupError, TypeError, OverflowError, AttributeError) as error:  # the library's own surprises
        raise YamlError(f"it is no YAML: {error}, line {loader.line + 1}") from error


def _told(error: yaml.MarkedYAMLError) -> str:
    said = " ".join(filter(None, (error.context, error.problem)))
    mark = error.problem_mark or error.context_mark
    return said if mark is None else f"{said}, line {mark.line + 1}, column {mark.column + 1}"


class _Loader(yaml.reader.Reader, yaml.scanner.Scanner, yaml.parser.Parser, yaml.composer.Composer,
              yaml.constructor.SafeConstructor, yaml.resolver.Resolver):  # fmt: skip
    """PyYAML's safe loader without dates and other objects, that stops at deep nesting."""

    def __init__(self, text: str) -> None:
        yaml.reader.Reader.__init__(self, text)
        yaml.scanner.Scanner.__init__(self)
        yaml.parser.Parser.__init__(self)
        yaml.composer.Composer.__init__(self)
        yaml.constructor.SafeConstructor.__init__(self)
        yaml.resolver.Resolver.__init__(self)
        self.depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise YamlError(f"it is nested more than {MAX_DEPTH} deep, line {self.peek_event().start_mark.line + 1}")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, TypeError, OverflowError, AttributeError) as error:
            if isinstance(error, YamlError):
                raise
            # `!!int x`, `!!bool 3`, an escape beyond Unicode: the library leaves these to Python
            raise YamlError(f"{node.tag.rpartition(':')[2]} cannot be {node.value!r:.80}, {_line(node)}") from error

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[str, Any]:
        if isinstance(node, yaml.MappingNode):
            self._refuse_doubles(node)
        return super().construct_mapping(node, deep)

    def _refuse_doubles(self, node: yaml.MappingNode) -> None:
        seen: dict[tuple[str, str], Any] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise YamlError(f"a key is a text, not a list or mapping, {_line(key)}")
            name = (key.tag, key.value)
            if name in seen and key.tag != "tag:yaml.org,2002:merge":
                raise YamlError(
                    f"the key {key.value!r} stands twice in one mapping, {_line(seen[name])} and {_line(key)}; keep "
                    "one of the two"
                )
            seen[name] = key


def _line(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}"


def _measure(top: yaml.Node) -> None:
    """Refuse a graph of nodes that stands for more values than any file holds, counted without writing any out."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def count(node: yaml.Node, depth: int) -> int:
        if isinstance(node, yaml.ScalarNode):
            return 1
        if id(node) in open_nodes:
            return 1  # it holds itself: told with its key path, once it is made
        if id(node) not in sizes:
            if depth > MAX_DEPTH:
                raise YamlError(f"it is nested more than {MAX_DEPTH} deep, {_line(node)}")
            open_nodes.add(id(node))
            inner = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
            sizes[id(node)] = 1 + sum(count(part, depth + 1) for part in inner)
            open_nodes.discard(id(node))
        if sizes[id(node)] > MAX_VALUES:
            raise YamlError(
                f"its aliases stand for more than {MAX_VALUES} values, {_line(node)}; write out what is meant"
            )
        return sizes[id(node)]

    count(top, 1)


_PLAIN = ("null", "bool", "int", "float", "str", "seq", "map")
_Loader.yaml_constructors = {
    tag: make
    for tag, make in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.rpartition(":")[2] in _PLAIN
}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rules if not tag.endswith(":timestamp")]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
