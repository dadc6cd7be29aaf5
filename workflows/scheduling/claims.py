"""What a node decodes next: whole signatures where many checkpoints share them, else windows of shards.

Where there are many checkpoints, loading them costs more than decoding images again: a node then takes over a whole
signature, with the most work left for each worker that is on it, and goes checkpoint by checkpoint; several signatures
at once where its budget takes them, so that a shard is opened once for all. A signature that no budget takes as a whole
goes by windows of shards, as do few checkpoints, which stay resident while the shards pass: windows are shared out
between the nodes, each shard to one of them as long as there are any.
"""

from __future__ import annotations

from collections.abc import Mapping

from overlap.zoo.preprocessing import Signature
from workflows.scheduling.backlog import Backlog
from workflows.scheduling.holdings import Decode, Holding

FEW = 4
"""Checkpoints for each worker of a node that are few: they stay resident while the shards pass."""
AHEAD = 0.5
"""A node claims more when it has less than this share of its part of all that is left."""
STALE = 0.99
"""Whether it has is asked again when the work has shrunk to this share."""


def hungry(node: Holding, nodes: Mapping[str, Holding], backlog: Backlog) -> bool:
    """Whether a node should claim more: what it holds is less than half of its part of all the work."""
    if node.empty or node.barren:
        return True
    if backlog.total > STALE * node.looked_at:
        return False
    workers = sum(other.workers for other in nodes.values())
    if at_hand(node, nodes, backlog) < AHEAD * backlog.total * node.workers / workers:
        return True
    node.looked_at = backlog.total
    return False


def at_hand(node: Holding, nodes: Mapping[str, Holding], backlog: Backlog) -> float:
    """Cost of the work that will come to a node of what it holds, others having their share of it."""
    found = 0.0
    for signature, shards in node.held.items():
        if backlog.wanted(signature):
            among = sum(other.workers * len(other.held.get(signature, ())) for other in nodes.values())
            most = max(len(other.held.get(signature, ())) for other in nodes.values())
            covered = min(1.0, most / len(backlog.wanted(signature)))
            found += backlog.work(signature) * covered * node.workers * len(shards) / among
    return found


def claim(node: Holding, nodes: Mapping[str, Holding], backlog: Backlog) -> list[Decode]:
    """What a node is to decode next, in order; nothing where it holds all that anything waits for."""
    new = {
        signature: [shard for shard in backlog.wanted(signature) if shard not in node.held.get(signature, ())]
        for signature in backlog.signatures
        if backlog.wanted(signature)
    }
    new = {signature: shards for signature, shards in new.items() if shards}
    if not new:
        return []
    workers = sum(other.workers for other in nodes.values())
    size = {s: sum(backlog.bytes((shard, s)) for shard in shards) for s, shards in new.items()}
    fits = sum(size.values()) <= node.budget - node.bytes
    limit = node.budget if fits else node.budget // 2  # the other half is for what is decoded meanwhile
    if len(backlog.jobs) <= FEW * node.workers:
        return _window(tuple(new), new, node, nodes, backlog, limit)

    def promise(signature: Signature) -> float:
        on_it = sum(other.workers for other in nodes.values() if other is not node and signature in other.held)
        return backlog.work(signature) * node.workers / (on_it + node.workers)

    ranked = sorted(new, key=promise, reverse=True)
    first = ranked[0]
    if size[first] > limit:
        return _window((first,), new, node, nodes, backlog, limit)
    taken, room = [first], limit - size[first]
    part = backlog.total * node.workers / workers - at_hand(node, nodes, backlog) - promise(first)
    for signature in ranked[1:]:
        if part <= 0:
            break
        if size[signature] <= room:
            taken.append(signature)
            room -= size[signature]
            part -= promise(signature)
    return _decodes(taken, {shard for signature in taken for shard in new[signature]}, new, backlog)


def _window(
    signatures: tuple[Signature, ...],
    new: Mapping[Signature, list[str]],
    node: Holding,
    nodes: Mapping[str, Holding],
    backlog: Backlog,
    limit: int,
) -> list[Decode]:
    """Shards that no other node holds, a node's part of them at most; where there are none, those with most to do."""
    others = [other for other in nodes.values() if other is not node]
    asked: dict[str, int] = {}
    free: set[str] = set()
    for signature in signatures:
        for shard in new[signature]:
            asked[shard] = asked.get(shard, 0) + len(backlog.wanted(signature)[shard])
            if not any(other.holds((shard, signature)) for other in others):
                free.add(shard)
    if free:
        workers = sum(other.workers for other in nodes.values())
        part = -(-len(free) * node.workers // workers) if others else len(free)
        chosen = sorted(free, key=backlog.order.__getitem__)[: max(1, part // 2 if others else part)]
        mine = {s: [x for x in new[s] if not any(o.holds((x, s)) for o in others)] for s in signatures}
    else:
        chosen = [max(asked, key=lambda shard: (asked[shard], backlog.order[shard]))]
        mine = {signature: new[signature] for signature in signatures}
    wanted = {signature: set(shards) for signature, shards in mine.items()}
    kept, room = chosen[:1], limit
    for shard in chosen:
        room -= sum(backlog.bytes((shard, signature)) for signature in signatures if shard in wanted[signature])
        if room >= 0 and shard not in kept:
            kept.append(shard)
    return _decodes(signatures, set(kept), mine, backlog)


def _decodes(
    signatures: tuple[Signature, ...] | list[Signature],
    shards: set[str],
    new: Mapping[Signature, list[str]],
    backlog: Backlog,
) -> list[Decode]:
    wanted = {signature: set(new[signature]) for signature in signatures}
    return [
        Decode(shard, tuple(signature for signature in backlog.signatures if shard in wanted.get(signature, ())))
        for shard in sorted(shards, key=backlog.order.__getitem__)
    ]
