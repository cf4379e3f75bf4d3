rule score:
    input:
        shard="scan/shards/{shard}.parquet",
        extract="extract/{shard}.parquet",
        baseline="baseline.parquet",
        duplicates="duplicates.parquet",
        history="history.parquet",
        settings=run.settings_files["score"],
    output:
        table="score/{shard}.parquet",
    log:
        "logs/score/{shard}.log",
    conda:
        "../../envs/tierflow.yaml"
    threads: STEPS["score"].threads
    resources:
        mem_mb=STEPS["score"].mem_mb_of,
        runtime=STEPS["score"].runtime_of,
        disk_mb=STEPS["score"].disk_mb,
    params:
        config="config.yaml",
    shell:
        STEPS["score"].shell()
