from __future__ import annotations

from numba.core.caching import IndexDataCacheFile

import tierflow.features.compiled  # noqa: F401 - it mends numba's own way


def test_code_for_one_type_is_never_taken_for_another(tmp_path):
    """A process that saved nothing yet is overtaken by a twin that had read the same empty index."""

    class Twin(IndexDataCacheFile):
        def _load_index(self):
            return {}

    class Overtaken(IndexDataCacheFile):
        def _save_data(self, name, data):
            Twin(str(tmp_path), "kernel", source_stamp=1).save("uint16", "code for uint16")
            super()._save_data(name, data)

    Overtaken(str(tmp_path), "kernel", source_stamp=1).save("float32", "code for float32")
    file = IndexDataCacheFile(str(tmp_path), "kernel", source_stamp=1)
    assert file.load("uint16") == "code for uint16"
    assert file.load("float32") in (None, "code for float32")


def test_saved_code_is_found_again(tmp_path):
    file = IndexDataCacheFile(str(tmp_path), "kernel", source_stamp=1)
    file.save("one", "code of one")
    file.save("two", "code of two")
    assert [file.load(key) for key in ("one", "two", "three")] == ["code of one", "code of two", None]
