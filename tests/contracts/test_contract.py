"""Every registered component, ours and installed strangers', obeys the contract."""

import pytest

from wtal_bench.testing import assert_contract, contract_cases, uncovered_components


@pytest.mark.parametrize("case", contract_cases(), ids=lambda case: case.id)
def test_padding_batch_mates_decoding_state_and_seed(case):
    assert_contract(case)


def test_every_component_is_part_of_an_example():
    assert uncovered_components() == []
