rule extract:
    input:
        shard="scan/shards/{shard}.parquet",
        settings=run.settings_files["extract"],
    output:
        table="extract/{shard}.parquet",
    log:
        "logs/extract/{shard}.log",
    conda:
        "../../envs/tierflow.yaml"
    threads: STEPS["extract"].threads
    resources:
        mem_mb=STEPS["extract"].mem_mb_of,
        runtime=STEPS["extract"].runtime_of,
        disk_mb=STEPS["extract"].disk_mb,
    params:
        config="config.yaml",
    shell:
        STEPS["extract"].shell()
