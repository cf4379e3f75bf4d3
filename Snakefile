# The main job: every image of a folder measured, scored, placed, catalogued and reported.
#   snakemake --cores 2 --config input=FOLDER output=RESULTS
from snakemake.utils import min_version

from tierflow.render.snakemake import prepare
from tierflow.steps import STEPS

min_version("9.19")

mode = "plan" if workflow.dryrun else "write"
run = prepare(config, mode=mode if workflow.is_main_process else "read")


workdir: str(run.output)


wildcard_constraints:
    shard=r"\d{5}",


rule all:
    default_target: True
    input:
        "report.html",
        "objects.csv",
        # Named here too, because Snakemake doesn't rebuild a missing table whose report is newer (undo removes tables).
        lambda wildcards: run.all_tables(checkpoints.scan.get().output.summary),


include: "workflows/rules/scan.smk"
include: "workflows/rules/extract.smk"
include: "workflows/rules/baseline.smk"
include: "workflows/rules/score.smk"
include: "workflows/rules/policy.smk"
include: "workflows/rules/place.smk"
include: "workflows/rules/index.smk"
include: "workflows/rules/publish.smk"
include: "workflows/rules/report.smk"
