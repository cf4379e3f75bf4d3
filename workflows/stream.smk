# A stream measured by Snakemake: `tierflow watch` with stream.batches.where=outside offers batches, this takes them.
#   snakemake --snakefile workflows/stream.smk --config output=RESULTS --cores 2 --keep-going --queue-input-wait-time 1
# It ends after 500 batches (Snakemake slows down with what is done) or when nobody watches; begin it again then.
from pathlib import Path

from snakemake.utils import min_version

from tierflow.stream.snakemake_queue import END, Feed

min_version("9.19")

RESULTS = Path(config["output"]).absolute()
MEASURED = ".tierflow/stream/measured/{number}"


workdir: RESULTS


def measured(number):
    return MEASURED.format(number=number)


batches = Feed(measured, most=int(config.get("batches", 500)), output=RESULTS)


rule all:
    default_target: True
    input:
        from_queue(batches, finish_sentinel=END),


rule measure:
    output:
        touch(MEASURED),
    log:
        "logs/stream/measure-{number}.log",
    conda:
        "../envs/tierflow.yaml"
    threads: 1
    shell:
        "tierflow work . --offer {wildcards.number} > {log} 2>&1"
