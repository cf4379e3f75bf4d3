rule extract:
    input:
        shard="scan/shards/{shard}.parquet",
    output:
        table="extract/{shard}.parquet",
    log:
        "logs/extract/{shard}.log",
    conda:
        "../../envs/tierflow.yaml"
    params:
        config="config.yaml",
        settings=run.settings("extract"),
    threads: STEPS["extract"].threads
    resources:
        mem_mb=STEPS["extract"].mem_mb,
    shell:
        STEPS["extract"].shell()
