"""The profiles that tell Snakemake where jobs run: those of the project by name, a site's own by folder."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tierflow.config_io import read_tree
from tierflow.errors import ConfigError
from tierflow.render.snakemake import snakefile

if TYPE_CHECKING:
    from collections.abc import Sequence

FILE = "profile.yaml"
_EXTRAS = {
    "slurm": "'tierflow[hpc]'",
    "cluster-generic": "'tierflow[hpc]'",
    "kubernetes": "'tierflow[s3,kubernetes]'",
}


def profile_arguments(profiles: Sequence[str]) -> list[str]:
    """Return the arguments that make Snakemake use profiles: `default` first, each one laid over those before it.

    Args:
        profiles: Names of the project's profiles, or folders that hold a `profile.yaml`.

    Raises:
        ConfigError: if one isn't found, isn't readable, or needs a plug-in of Snakemake that isn't installed.
    """
    folders = [find("default"), *(find(profile) for profile in profiles)]
    for folder in folders:
        _require_executor(folder)
    # A workflow profile would lie over all of them; none makes their order the only rule.
    return ["--workflow-profile", "none", *(text for folder in folders for text in ("--profile", str(folder)))]


def setting(profiles: Sequence[str], key: str) -> Any:
    """Return what the last of the profiles that says so sets, such as its `executor`; None if none does.

    Args:
        profiles: Names of the project's profiles, or folders that hold a `profile.yaml`.
        key: One of Snakemake's options, as profiles spell it.

    Raises:
        ConfigError: if a profile isn't found or isn't readable.
    """
    said = [tree[key] for tree in (read_tree(find(profile) / FILE) for profile in profiles) if key in tree]
    return said[-1] if said else None


def find(profile: str) -> Path:
    """Return the absolute folder of a profile.

    Raises:
        ConfigError: naming the profiles that there are.
    """
    ours = snakefile().parent / "profiles"
    # A name is always ours: a folder of the same name that happens to lie here must not change a run.
    folder = ours / profile if "/" not in profile and (ours / profile / FILE).exists() else Path(profile).expanduser()
    if not (folder / FILE).exists():
        names = ", ".join(sorted(path.parent.name for path in ours.glob(f"*/{FILE}")))
        raise ConfigError(f"profile is {profile!r}: expected one of {names}, or a folder that holds a {FILE}")
    return folder.absolute()


def _require_executor(folder: Path) -> None:
    executor = read_tree(folder / FILE).get("executor", "local")
    if executor in ("local", "dryrun", "touch"):
        return
    plugin = f"snakemake-executor-plugin-{executor}"
    if find_spec(plugin.replace("-", "_")) is None:
        remedy = _EXTRAS.get(executor, plugin)
        raise ConfigError(f"profile {folder} needs {plugin}, which is not installed: pip install {remedy}")
