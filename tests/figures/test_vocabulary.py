"""The map of embeddings: principal components as by the eigenvectors of the covariance, of tokens that occur."""

import numpy as np

from lob_jax.figures.vocabulary import principal_components, vocabulary_map


def test_components_are_those_of_the_covariance():
    vectors = np.random.default_rng(0).normal(size=(40, 5)) * [5, 1, 3, 0.1, 0.5]
    found = principal_components(vectors)
    eigenvalue, eigenvector = np.linalg.eigh(np.cov(vectors.T))
    np.testing.assert_allclose(found.share, eigenvalue[::-1][:2] / eigenvalue.sum())
    expected = (vectors - vectors.mean(0)) @ eigenvector[:, ::-1][:, :2]
    np.testing.assert_allclose(np.abs(found.point_V2), np.abs(expected), atol=1e-9)


def test_only_tokens_that_occur_are_drawn_by_class():
    vectors = np.random.default_rng(1).normal(size=(6, 3))
    count, kind = np.array([0, 1, 10, 100, 0, 1]), np.array([0, 1, 1, 7, 7, 8])
    names = [f"class {k}" for k in range(9)]
    figure = vocabulary_map(vectors, class_V=kind, count_V=count, names=names, title="Embeddings")
    (axes,) = figure.axes
    drawn = {one.get_label(): one.get_offsets() for one in axes.collections}
    assert {name: len(points) for name, points in drawn.items()} == {
        "class 1 (2)": 2,
        "class 7 (1)": 1,
        "class 8 (1)": 1,
    }
    np.testing.assert_allclose(drawn["class 1 (2)"], principal_components(vectors[count > 0]).point_V2[:2])
    sizes = axes.collections[0].get_sizes()
    assert sizes[1] > sizes[0] and "4 tokens" in figure.get_suptitle()
