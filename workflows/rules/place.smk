rule place:
    input:
        shard="scan/shards/{shard}.parquet",
        score="score/{shard}.parquet",
        policy="policy.json",
    output:
        table="place/{shard}.parquet",
    log:
        "logs/place/{shard}.log",
    conda:
        "../../envs/tierflow.yaml"
    params:
        config="config.yaml",
        settings=run.settings("place"),
    threads: STEPS["place"].threads
    resources:
        mem_mb=STEPS["place"].mem_mb,
    shell:
        STEPS["place"].shell()


rule placed:
    input:
        tables=lambda wildcards: run.tables("place", checkpoints.scan.get().output.summary),
    localrule: True
