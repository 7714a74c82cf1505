"""Several inputs, text and other frameworks: what a model takes is what the test gives."""

import pytest
from digits_classifier import load_digits
from film_recommender import load_pairs, train_pair_model
from text_classifier import TitleNumbers, build_masked_model, load_titles, train_title_model

from pytest_dlperf import ClosedLoop, Ragged, Serving


@pytest.fixture(scope="module")
def pairs():
    """People's last films and a film each: did they watch it next?"""
    return load_pairs()


@pytest.fixture(scope="module")
def titles():
    """Artists and titles as text."""
    return load_titles()


@pytest.mark.dlperf("accuracy >= 58%", "throughput >= 100/s", scenario=ClosedLoop(clients=64))
def test_pairs_of_person_and_film(dlperf, pairs):
    """Two inputs by name; the model answers with a score and the vectors that it comes from."""
    model = train_pair_model(pairs.train)
    dlperf(model, pairs.test, output="score")


@pytest.mark.dlperf("accuracy >= 55%", "throughput >= 100/s", serving=Serving(max_batch_size=32))
def test_titles_as_text(dlperf, titles):
    """The model makes numbers of words itself."""
    model = train_title_model(titles.train)
    dlperf(model, titles.test)


@pytest.mark.dlperf("throughput >= 100/s", serving=Serving(max_batch_size=32))
def test_titles_of_many_lengths(dlperf, titles):
    """Numbers of words, padded in each batch to a few lengths, with a mask beside them.

    The model has not been trained: only its speed is asked for.
    """
    numbers = TitleNumbers(titles.train.inputs)
    words = Ragged(numbers(titles.test.inputs), lengths=(4, 8, 16, 32, 64), mask="mask")
    dlperf(build_masked_model(), ({"words": words}, None))


@pytest.mark.dlperf("accuracy >= 80%", "throughput >= 100/s", scenario=ClosedLoop(clients=64))
def test_a_module_of_torch(dlperf):
    """A PyTorch module, trained in the test and measured as it is."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    digits = load_digits()
    rows, labels = torch.tensor(digits.train.inputs), torch.tensor(digits.train.labels)
    module = torch.nn.Sequential(
        torch.nn.Linear(rows.shape[1], 64), torch.nn.ReLU(), torch.nn.Linear(64, 10)
    )
    optimizer = torch.optim.Adam(module.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(module(rows), labels).backward()
        optimizer.step()
    dlperf(module, digits.test)
