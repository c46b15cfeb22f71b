"""PageRank of a graph: its edges from the event, or a random scale-free graph that is the same for the same seed.

Power iteration on the incoming edges, without any package. A page without links spreads its rank over all (Brin and Page, 1998).
"""

from random import Random

DAMPING = 0.85
LIMIT = 100_000  # nodes


def handler(event, context):
    if "edges" in event:
        edges = [(int(source), int(target)) for source, target in event["edges"]]
        nodes = 1 + max(max(edge) for edge in edges) if edges else 0
    else:
        nodes = int(event.get("nodes", 10_000))
        edges = None
    if not 0 < nodes <= LIMIT:
        raise ValueError(f"the graph has {nodes} nodes; it may have 1 to {LIMIT}")
    edges = graph(nodes, int(event.get("seed", 42))) if edges is None else edges
    ranks, rounds = pagerank(nodes, edges)
    top = sorted(range(nodes), key=lambda node: (-ranks[node], node))[: int(event.get("top", 5))]
    return {
        "nodes": nodes,
        "edges": len(edges),
        "rounds": rounds,
        "sum": round(sum(ranks), 9),
        "top": [[node, round(ranks[node], 9)] for node in top],
    }


def graph(nodes, seed, links=5):
    """Each node links to up to `links` earlier ones, preferably to those that have many links (Barabasi and Albert, 1999)."""
    random = Random(seed)
    edges, pool = [], [0]
    for node in range(1, nodes):
        targets = sorted({pool[int(random.random() * len(pool))] for _ in range(links)})
        edges += [(node, target) for target in targets]
        pool += [node, *targets]
    return edges


def pagerank(nodes, edges, tolerance=1e-10, most=200):
    """(rank of each node, rounds); the ranks add up to 1."""
    incoming = [[] for _ in range(nodes)]
    degree = [0] * nodes
    for source, target in edges:
        incoming[target].append(source)
        degree[source] += 1
    dangling = [node for node in range(nodes) if not degree[node]]
    ranks = [1.0 / nodes] * nodes
    rounds, change = 0, 1.0
    while change >= tolerance and rounds < most:
        rounds += 1
        share = [rank / links if links else 0.0 for rank, links in zip(ranks, degree)]  # noqa: B905
        base = (1 - DAMPING + DAMPING * sum(ranks[node] for node in dangling)) / nodes
        following = [base + DAMPING * sum([share[source] for source in sources]) for sources in incoming]
        change = sum(abs(new - old) for new, old in zip(following, ranks))  # noqa: B905
        ranks = following
    return ranks, rounds
