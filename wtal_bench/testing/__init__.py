"""Public test tools: the contract every component must obey, for our plugins and everybody else's.

A plugin registers tiny example models (`registrar.example(name, "module:function")`); its test suite is two lines::

    from wtal_bench.testing import assert_contract, contract_cases

    @pytest.mark.parametrize("case", contract_cases("my_plugin"), ids=lambda case: case.id)
    def test_contract(case):
        assert_contract(case)
"""

from wtal_bench.modeling.operations import Operations
from wtal_bench.testing.contracts import Case, assert_contract, contract_cases, uncovered_components
from wtal_bench.testing.examples import Example, random_batch
from wtal_bench.testing.runs import check_resuming

__all__ = [
    "Case",
    "Example",
    "Operations",
    "assert_contract",
    "check_resuming",
    "contract_cases",
    "random_batch",
    "uncovered_components",
]
