rule index:
    input:
        shard="scan/shards/{shard}.parquet",
        extract="extract/{shard}.parquet",
        score="score/{shard}.parquet",
        place="place/{shard}.parquet",
        settings=run.settings_files["index"],
    output:
        catalogue="catalogue/{shard}.parquet",
        receipt="index/{shard}.json",
    log:
        "logs/index/{shard}.log",
    conda:
        "../../envs/tierflow.yaml"
    threads: STEPS["index"].threads
    resources:
        mem_mb=STEPS["index"].mem_mb_of,
        runtime=STEPS["index"].runtime_of,
        disk_mb=STEPS["index"].disk_mb,
    params:
        config="config.yaml",
    shell:
        STEPS["index"].shell()
