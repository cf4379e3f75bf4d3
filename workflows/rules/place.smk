rule place:
    input:
        shard="scan/shards/{shard}.parquet",
        score="score/{shard}.parquet",
        policy="policy.json",
        settings=run.settings_files["place"],
    output:
        table="place/{shard}.parquet",
    log:
        "logs/place/{shard}.log",
    conda:
        "../../envs/tierflow.yaml"
    threads: STEPS["place"].threads
    resources:
        mem_mb=STEPS["place"].mem_mb_of,
        runtime=STEPS["place"].runtime_of,
        disk_mb=STEPS["place"].disk_mb,
    params:
        config="config.yaml",
    shell:
        STEPS["place"].shell()
