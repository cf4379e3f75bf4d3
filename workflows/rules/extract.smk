rule extract:
    input:
        shard="scan/shards/{shard}.parquet",
    output:
        table="extract/{shard}.parquet",
    log:
        "logs/extract/{shard}.log",
    conda:
        "../../envs/tierflow.yaml"
    threads: STEPS["extract"].threads
    resources:
        mem_mb=STEPS["extract"].mem_mb,
    params:
        config="config.yaml",
        settings=run.settings("extract"),
    shell:
        STEPS["extract"].shell()
