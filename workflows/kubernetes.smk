# The same steps in pods that share no file system: `tierflow run s3://... --output s3://... --profile kubernetes`.
# Only marks go through Snakemake's storage; images and tables are fetched and put by `tierflow job` (docs/object-stores.md).
# A mark is empty, or holds what ended the job. A pod must not end badly itself: the executor's plug-in can't bear it.
from tierflow.steps import STEPS

JOB = (
    "if [ -n \"$(find $(dirname {input[0]:q}) -type f -size +0)\" ]; then echo 'a step before it failed' > {output:q}; "
    "else code=0; tierflow job run {config[output]:q} --steps {params.steps} {params.part} 2> said || code=$?; "
    "cat said >&2; if [ $code = 0 ]; then : > {output:q}; else (echo $code; tail -n 20 said) > {output:q}; fi; fi"
)


def parts(step):
    count = config["jobs"].get(step, 0)
    return [f"{step}/{number}-{count}" for number in range(1, count + 1)]


rule all:
    input:
        "report/all",
        parts("publish"),


rule scan:
    output:
        "scan/all",
    resources:
        mem_mb=STEPS["scan"].mem_mb * config["attempt"],
    params:
        config=config["tierflow"],
    shell:
        "code=0; tierflow job scan {config[input]:q} --output {config[output]:q} --config-text {params.config:q}"
        " 2> said || code=$?; cat said >&2;"
        " if [ $code = 0 ]; then : > {output:q}; else (echo $code; tail -n 20 said) > {output:q}; fi"


rule extract:
    input:
        "scan/all",
    output:
        "extract/{number}-{of}",
    resources:
        mem_mb=STEPS["extract"].mem_mb * config["attempt"],
    params:
        steps="extract",
        part="--part {number}/{of}",
    shell:
        JOB


rule baseline:
    input:
        parts("extract"),
    output:
        "baseline/all",
    resources:
        mem_mb=STEPS["baseline"].mem_mb * config["attempt"],
    params:
        steps="baseline",
        part="",
    shell:
        JOB


rule score:
    input:
        "baseline/all",
    output:
        "score/{number}-{of}",
    resources:
        mem_mb=STEPS["score"].mem_mb * config["attempt"],
    params:
        steps="score",
        part="--part {number}/{of}",
    shell:
        JOB


rule policy:
    input:
        parts("score"),
    output:
        "policy/all",
    resources:
        mem_mb=STEPS["policy"].mem_mb * config["attempt"],
    params:
        steps="policy",
        part="",
    shell:
        JOB


rule place:
    input:
        "policy/all",
    output:
        "place/{number}-{of}",
    resources:
        mem_mb=STEPS["place"].mem_mb * config["attempt"],
    params:
        steps="place,index",
        part="--part {number}/{of}",
    shell:
        JOB


rule publish:
    input:
        "place/{number}-{of}",
    output:
        "publish/{number}-{of}",
    resources:
        mem_mb=STEPS["publish"].mem_mb * config["attempt"],
    params:
        steps="publish",
        part="--part {number}/{of}",
    shell:
        JOB


rule report:
    input:
        parts("place"),
    output:
        "report/all",
    resources:
        mem_mb=STEPS["report"].mem_mb * config["attempt"],
    params:
        steps="report",
        part="",
    shell:
        JOB
