"""Which text is in the engine's cache already, and in which slot: a tree of blocks of tokens for each tenant. Pure."""

from array import array
from collections.abc import Sequence
from typing import NamedTuple


class _Node:
    """A block of tokens behind all those on the way to it; below the root, a tenant."""

    __slots__ = ("children", "key", "parent", "slots")

    def __init__(self, parent: "_Node | None" = None, key: bytes | str = "") -> None:
        self.parent = parent
        self.key = key
        self.children: dict[bytes | str, _Node] = {}
        self.slots: dict[int, None] = {}
        """That hold it, in the order in which they came to."""

    def child(self, key: bytes | str) -> "_Node":
        """The one of this key, made if there is none."""
        child = self.children.get(key)
        if child is None:
            child = self.children[key] = _Node(self, key)
        return child


class Prefix(NamedTuple):
    """The beginning of a prompt that a slot holds."""

    slot: int
    num_tokens: int
    node: _Node


class PrefixTree:
    """Whole blocks only, compared token by token: no two texts are ever mistaken for each other, as they might by their hashes.

    A tenant finds nothing that another's requests have left: how soon an answer begins would tell what others ask.
    """

    def __init__(self, block_tokens: int) -> None:
        self._block_tokens = block_tokens
        self._root = _Node()
        self._paths: dict[int, list[_Node]] = {}
        """By slot, the nodes that it holds: its tenant's, then a node a block."""

    def longest(self, tenant: str, token_ids: Sequence[int], known: Prefix | None = None) -> Prefix | None:
        """The longest beginning of these tokens that a slot holds; never all of them, since a step needs one to run.

        Args:
            known: what was found for them before: as long as somebody holds it, only what is behind it is looked at.
        """
        node, end, size = self._root.children.get(tenant), 0, self._block_tokens
        if known is not None and known.node.slots:
            node, end = known.node, known.num_tokens
        while node is not None and end + size < len(token_ids):
            child = node.children.get(_key(token_ids[end : end + size]))
            if child is None:
                break
            node, end = child, end + size
        return Prefix(next(reversed(node.slots)), end, node) if node is not None and end else None

    def extend(self, slot: int, tenant: str, token_ids: Sequence[int], num_tokens: int) -> None:
        """Say that a slot holds the first `num_tokens` of these, some of which may be known; the last block counts if it is full."""
        path, size = self._paths.setdefault(slot, []), self._block_tokens
        if not path:
            self._step_to(self._root.child(tenant), slot)
        for end in range(size * len(path), min(num_tokens, len(token_ids)) + 1, size):
            self._step_to(path[-1].child(_key(token_ids[end - size : end])), slot)

    def forget(self, slot: int) -> None:
        """The slot holds nothing any more."""
        for node in reversed(self._paths.pop(slot, [])):
            del node.slots[slot]
            if not node.slots and node.parent is not None:
                del node.parent.children[node.key]

    def _step_to(self, node: _Node, slot: int) -> None:
        node.slots[slot] = None
        self._paths[slot].append(node)


def _key(token_ids: Sequence[int]) -> bytes:
    """A block of tokens in a fifth of the room that their numbers would take."""
    return array("i", token_ids).tobytes()
