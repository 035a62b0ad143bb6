"""The one place that imports DGL."""

import os
import sys
import types

os.environ.setdefault("DGLBACKEND", "pytorch")  # else DGL prints a notice and writes into the user's home
sys.modules.setdefault("dgl.graphbolt", types.ModuleType("dgl.graphbolt"))

import dgl  # noqa: E402

__all__ = ["dgl"]
