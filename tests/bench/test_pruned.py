from lob_jax.bench.generate import Sample, bench_model
from lob_jax.bench.generate import parsed as generating
from lob_jax.bench.pruned import figures, parsed, without


def test_the_ratio_is_that_of_the_rounds():
    model = bench_model("cpu", generating([]))
    models = {"whole": model, "pruned": without(model, 0.25, 0.25)}
    samples = {"whole": [Sample(1.0, 100, 0), Sample(3.0, 100, 0), Sample(1.0, 100, 0)]}
    samples["pruned"] = [Sample(0.8, 100, 0), Sample(1.5, 100, 0), Sample(0.9, 100, 0)]
    found = figures(samples, models)
    assert (found["whole"]["heads"], found["pruned"]["heads"]) == (6, 4)
    assert (found["whole"]["columns"], found["pruned"]["columns"]) == (1536, 1152)
    assert found["ratio"] == 0.8 and round(found["pruned"]["ms_per_token"], 6) == 9.0
    assert found["pruned"]["flops_per_token"] < found["whole"]["flops_per_token"]
    assert parsed([]).rounds == 5
