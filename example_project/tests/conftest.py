"""What several tests measure by: how good a list of recommended films is."""

from pytest_dlperf import metric

# The package is imported late: it brings TensorFlow, which not every run needs.


@metric(unit="share", better="higher", detect=0.01)
def hit_rate10(outputs, labels):
    """The share of people whose next film is among the ten best."""
    from film_recommender import hits

    return hits(outputs, labels)


@metric(unit="share", better="higher", detect=0.01)
def ndcg10(outputs, labels):
    """The same, and the further up the better."""
    from film_recommender import gains

    return gains(outputs, labels)
