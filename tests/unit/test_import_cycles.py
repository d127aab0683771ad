"""No module of daypass imports another in a circle, through lazy imports and parents included.

The contract of import-linter compares siblings only; this finds a package and its own module, too.
"""

from graphlib import TopologicalSorter

import grimp


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = grimp.build_graph("daypass", exclude_type_checking_imports=True, cache_dir=None)
    assert {"daypass.cli", "daypass.cli.parser", "daypass._core"} <= graph.modules
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    TopologicalSorter(imports).prepare()  # raises CycleError, which names the modules
