"""The contract every component obeys, and what is special to my_idea."""

import pytest
import torch

from wtal_bench.testing import assert_contract, contract_cases, random_batch, uncovered_components

from my_idea.components import Sparsity


@pytest.mark.parametrize("case", contract_cases("my_idea"), ids=lambda case: case.id)
def test_contract(case):
    assert_contract(case)


def test_every_component_is_part_of_an_example():
    missing = uncovered_components("my_idea")
    assert not missing, f"in no example: {missing}. Add them to a model of my_idea/examples.py, or write one for them"


def test_sparsity_is_the_mean_attention_of_real_snippets():
    batch = random_batch([4, 2])
    attention = torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.5, 0.5, 9.0, 9.0]], dtype=torch.float64)
    assert Sparsity()({"attention": attention}, batch)["sparsity"].item() == pytest.approx(0.5)
