rule publish:
    input:
        catalogue="catalogue/{shard}.parquet",
        settings=run.settings_files["publish"],
    output:
        receipt="publish/{shard}.json",
    log:
        "logs/publish/{shard}.log",
    conda:
        "../../envs/tierflow.yaml"
    threads: STEPS["publish"].threads
    resources:
        mem_mb=STEPS["publish"].mem_mb_of,
        runtime=STEPS["publish"].runtime_of,
        disk_mb=STEPS["publish"].disk_mb,
    params:
        config="config.yaml",
    shell:
        STEPS["publish"].shell()
