"""The Python side of searching: `tierflow.open(results_or_url).search("tier:A").to_pandas()`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, overload

from tierflow.catalogue.base import PERCENTS
from tierflow.catalogue.commands import DEFAULT_SORT, parse_names, parse_sort
from tierflow.catalogue.image import Image
from tierflow.catalogue.language import parse
from tierflow.catalogue.located import NEEDED, located, place_of
from tierflow.catalogue.open import open_catalogue
from tierflow.catalogue.query import Query
from tierflow.errors import ConfigError, QueryError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pandas
    import pyarrow as pa

    from tierflow.catalogue.base import Catalogue, Folders
    from tierflow.catalogue.fields import Fields
    from tierflow.catalogue.query import Bin, Scalar, Stats
    from tierflow.objectstore.connect import Place

_IMAGE_COLUMNS = ("status", "planes", "height", "width", "samples", "dtype", "sha256", *NEEDED)


def open(results_or_url: str | Path) -> Results:  # noqa: A001 - called as tierflow.open
    """Open the results of one run, or all runs of a server.

    ```python
    import tierflow

    results = tierflow.open("my_plate-tierflow")
    best = results.search("tier:A flag:saturated features.snr>5", sort="-interestingness", limit=20)
    best.to_pandas()
    ```

    Args:
        results_or_url: Output folder of a run, or an address such as `https://search.lab:9200/lab-objects`.

    Raises:
        ConfigError: if it is neither.
        InputMissingError: if there is no such folder.
    """
    return Results(open_catalogue(results_or_url), name=str(results_or_url))


class Results:
    """A catalogue, ready to be searched."""

    def __init__(self, catalogue: Catalogue, *, name: str = "results") -> None:
        self.catalogue = catalogue
        self._name = name

    @property
    def fields(self) -> Fields:
        """The fields that queries may name, with meaning and unit: `results.fields.find("snr").unit`."""
        return self.catalogue.fields()

    def get(self, object_id: str) -> dict[str, Any] | None:
        """Return everything that is recorded about an object; None if it isn't there."""
        return self.catalogue.get(object_id)

    def search(
        self,
        query: str = "",
        *,
        sort: str | Sequence[str] = DEFAULT_SORT,
        columns: str | Sequence[str] = (),
        limit: int | None = None,
    ) -> Found:
        """Describe a search; nothing is read before the result is asked for something.

        ```python
        sharp = results.search("well:B0* and not flag:blank", columns="plate,well,features.snr")
        sharp.count
        ```

        Args:
            query: As on the command line, such as `tier:A well:B0* features.snr>5`; "" for all objects.
            sort: Names of fields, in front of each "-" for descending order.
            columns: Names of fields for tables; without any, all of them.
            limit: Most objects; None for all.

        Raises:
            QueryError: if the query can't be understood or names an unknown field.
        """
        if limit is not None and limit < 1:
            raise QueryError(f"limit {limit}: expected 1 or more, or None for all objects")
        fields = self.fields
        names = parse_names(_joined(columns))
        for name in names:
            fields.find(name)
        asked = Query(parse(query, fields), sort=parse_sort(_joined(sort)), limit=limit, columns=names)
        for key in asked.sort:
            fields.find(key.field)
        return Found(self.catalogue, asked, told=query)

    def __repr__(self) -> str:
        """Say what was opened."""
        return f"Results({self._name!r})"


@dataclass(frozen=True, slots=True)
class Found:
    """The objects of a search. Each call asks the catalogue anew.

    Attributes:
        catalogue: Where they were found.
        query: The search, as the catalogue understands it.
        told: The search, as it was written.
    """

    catalogue: Catalogue
    query: Query
    told: str = ""

    @property
    def count(self) -> int:
        """Number of objects, not above the limit."""
        found = self.catalogue.count(self.query.filters)
        return found if self.query.limit is None else min(found, self.query.limit)

    def __len__(self) -> int:
        """Return the number of objects."""
        return self.count

    def to_arrow(self) -> pa.Table:
        """Return the objects as an Arrow table, with units and meanings in the metadata of its columns."""
        return self.catalogue.batches(self.query).read_all()

    def to_pandas(self) -> pandas.DataFrame:
        """Return the objects as a data frame; `frame.attrs["units"]` holds the units by column.

        Whole numbers stay whole where some are missing. Without columns in the search, those that can't be read by
        people (`path_bytes`, `flag_details`, `histogram`) are left out.

        Raises:
            ConfigError: if pandas isn't installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise ConfigError(
                "to_pandas() needs pandas: `pip install 'tierflow[pandas]'`, or take to_arrow()"
            ) from error
        import pyarrow as pa

        fields = self.catalogue.fields()
        readable = tuple(name for name, known in fields.items() if known.kind != "opaque")
        query = self.query if self.query.columns else replace(self.query, columns=readable)
        table = self.catalogue.batches(query).read_all()
        whole: dict[pa.DataType, Any] = {pa.int32(): pd.Int32Dtype(), pa.int64(): pd.Int64Dtype()}
        frame: pandas.DataFrame = table.replace_schema_metadata(None).to_pandas(
            types_mapper=lambda kind: whole.get(kind)
        )
        units = {known.column: known.unit for known in fields.values() if known.unit}
        frame.attrs["units"] = {name: units[name] for name in frame.columns if name in units}
        return frame

    def paths(self) -> list[Place]:
        """Return where the files are now, in the order of the search; those in object stores as `StorePath`."""
        return [found.path for found in located(self.catalogue, replace(self.query, columns=NEEDED))]

    def images(self) -> Images:
        """Return the images as a sequence that reads a file only when its pixels are asked for.

        ```python
        for image in found.images():
            print(image.path.name, image.axes, numpy.asarray(image).mean())
        ```
        """
        columns = self.query.columns and (*self.query.columns, *_IMAGE_COLUMNS)
        table = self.catalogue.batches(replace(self.query, columns=columns)).read_all()
        runs = {str(run) for run in table["run"].unique().to_pylist()}
        return Images(table, {run: self.catalogue.folders(run) for run in runs})

    def facets(self, field: str, *, limit: int = 100) -> list[tuple[Scalar, int]]:
        """Return the values of a field and how many objects have each, the most frequent first.

        Raises:
            QueryError: if the search has a limit: numbers are always about all objects that fulfil the query.
        """
        self._require_whole("facets")
        return self.catalogue.facets(field, filters=self.query.filters, limit=limit)

    def histogram(self, field: str, *, bins: int = 10) -> list[Bin]:
        """Return counts in equal bins from the smallest to the largest value; see `facets` about limits."""
        self._require_whole("histogram")
        return self.catalogue.histogram(field, bins=bins, filters=self.query.filters)

    def percentiles(self, field: str, percents: Sequence[float] = PERCENTS) -> dict[float, float | None]:
        """Return values by percent (0 to 100); see `facets` about limits."""
        self._require_whole("percentiles")
        return self.catalogue.percentiles(field, percents=percents, filters=self.query.filters)

    def stats(self, field: str, *, by: str | None = None) -> list[Stats]:
        """Return numbers about a field, for all objects or for each value of `by`; see `facets` about limits."""
        self._require_whole("stats")
        return self.catalogue.stats(field, by=by, filters=self.query.filters)

    def __repr__(self) -> str:
        """Say how many objects were found."""
        return f"Found({self.told!r}: {self.count:,} objects)"

    def _require_whole(self, what: str) -> None:
        if self.query.limit is not None:
            raise QueryError(
                f"{what}() is about all objects of a search, this one has limit {self.query.limit}: search without"
            )


class Images(Sequence[Image]):
    """The images of a search, in its order; a slice is a sequence of the same kind."""

    def __init__(self, table: pa.Table, folders: dict[str, Folders]) -> None:
        """Take what the catalogue knows.

        Args:
            table: A row per image, with at least the columns that places need.
            folders: Folders by run.
        """
        self._table = table
        self._folders = folders

    def __len__(self) -> int:
        """Return the number of images."""
        return int(self._table.num_rows)

    @overload
    def __getitem__(self, index: int) -> Image: ...

    @overload
    def __getitem__(self, index: slice) -> Images: ...

    def __getitem__(self, index: int | slice) -> Image | Images:
        """Return one image, or some of them."""
        if isinstance(index, slice):
            return Images(self._table.take(list(range(*index.indices(len(self))))), self._folders)
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        [record] = self._table.slice(index % len(self), 1).to_pylist()
        return Image(place_of(record, self._folders[record["run"]]), record)

    def __iter__(self) -> Iterator[Image]:
        """Iterate over the images."""
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        """Say how many there are."""
        return f"Images({len(self):,})"


def _joined(names: str | Sequence[str]) -> str:
    return names if isinstance(names, str) else ",".join(names)
