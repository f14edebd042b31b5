import pytest

from lob_jax.training.run.stopping import EarlyStopping, told_as_ended


def test_early_stopping_counts_what_is_not_better(train_config):
    stopping = EarlyStopping()
    for step, loss in enumerate((2.0, 1.0, 1.0, float("nan"), 0.5)):
        stopping = stopping.after(loss, step)
        if step == 3:
            assert stopping == EarlyStopping(1.0, 1, strikes=2, step=3)
            assert [stopping.stops(train_config(patience=patience)) for patience in (1, 2, 3)] == [True, True, False]
    assert stopping == EarlyStopping(0.5, 4, strikes=0, step=4)


@pytest.mark.parametrize(
    ("stopping", "changes", "why", "key"),
    [
        (EarlyStopping(1.0, 4, 0, 12), {}, "it was to take 12 steps", "steps"),
        (EarlyStopping(1.0, 4, 0, 12), {"steps": None}, "it was to take 12 steps", "epochs"),
        (
            EarlyStopping(1.0, 4, 2, 12),
            {"patience": 2},
            "none of the last 2 validations was better than that of step 4 (config.train.patience is 2)",
            "patience",
        ),
        (
            EarlyStopping(None, None, 3, 12),
            {"patience": 2},
            "none of the last 3 validations gave a finite loss (config.train.patience is 2)",
            "patience",
        ),
    ],
)
def test_a_run_started_again_after_its_end_is_told_why_it_ended(train_config, stopping, changes, why, key):
    told = told_as_ended(stopping, train_config(**changes), step=12, total_steps=12)
    assert (
        told == f"this run has already ended, at step 12: {why}; to train further, pass a higher --config.train.{key}"
    )
